"""Forward and backward of the GPT, against its slow twin and against nanochat of late 2025; and the memory of the head.

    python tools/bench/model.py
    python tools/bench/model.py --nanochat CHECKOUT      (git checkout 4a87a0d)

One thread, float32, 4 layers x 256 features, 4096 ids, 8 rows of 256 positions. The programs take turns, step by
step, so that a busy machine slows all of them alike: read the ratios. The slow twin is the same model with the readable
`attend` of lesson 1.2 and `plain_loss`, which holds all logits. Memory is what torch's profiler sees allocated.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mini_nanochat.model import attention
from mini_nanochat.model.gpt import CAP, GPT, GPTConfig
from mini_nanochat.model.head import head_loss, plain_loss

SHAPE = GPTConfig(sequence_len=256, vocab_size=4096, n_layer=4, n_head=2, n_kv_head=2, n_embd=256)
ROWS, STEPS = 8, 12
HEAD_ROWS, HEAD_IDS = 8192, 16_384  # positions and ids of the measurement of memory
FUSED = attention.attend_fast
Step = Callable[[], Tensor]


def batch() -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, SHAPE.vocab_size, (ROWS, SHAPE.sequence_len + 1))
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def ours(attend: Callable[..., Tensor], loss: Callable[..., Tensor]) -> Step:
    """A step of our model with this attention and this end."""
    model = GPT(SHAPE)
    model.init()
    x, y = batch()

    def step() -> Tensor:
        attention.attend_fast = attend
        features = model.features(x).flatten(0, 1)
        return loss(features, model.lm_head.weight, y.flatten(), CAP)

    return partial(run, step, model)


def theirs(checkout: Path) -> Step:
    """A step of nanochat's model, from a checkout of late 2025."""
    sys.path.insert(0, str(checkout))
    from nanochat import gpt

    model = gpt.GPT(gpt.GPTConfig(**asdict(SHAPE)))
    model.init_weights()
    x, y = batch()
    return partial(run, lambda: model(x, y), model)


def run(step: Callable[[], Tensor], model: torch.nn.Module) -> Tensor:
    model.zero_grad()
    loss = step()
    loss.backward()
    return loss.detach()


def compare(programs: dict[str, Step]) -> None:
    """Seconds of each, step by step in turns, and how many times as fast as the slow twin."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(STEPS + 2):
        for name, step in programs.items():
            start = time.perf_counter()
            step()
            if turn > 1:  # the first two warm up
                seconds[name].append(time.perf_counter() - start)
    tokens = ROWS * SHAPE.sequence_len
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    for name, median in middle.items():
        ratios = [slow / fast for slow, fast in zip(seconds["slow twin"], seconds[name])]
        print(f"{name:24} {tokens / median:8,.0f} tokens/s   {statistics.median(ratios):.2f} x the slow twin")


def peak(loss: Callable[..., Tensor]) -> int:
    """The most bytes that tensors held at once, forward and backward, beyond those that go in."""
    x = torch.randn(HEAD_ROWS, SHAPE.n_embd, requires_grad=True)
    weight = torch.randn(HEAD_IDS, SHAPE.n_embd, requires_grad=True)
    targets = torch.randint(0, HEAD_IDS, (HEAD_ROWS,))
    with torch.profiler.profile(profile_memory=True) as profile:
        loss(x, weight, targets, CAP).backward()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def memory() -> None:
    """The peak of each head, forward and backward."""
    logits = HEAD_ROWS * HEAD_IDS * 4
    print(
        f"\nMemory of the head: {HEAD_ROWS:,} positions, {HEAD_IDS:,} ids; the logits alone are {logits / 1e6:,.0f} MB"
    )
    for loss in (plain_loss, head_loss):
        most = peak(loss)
        print(f"{loss.__name__:24} {most / 1e6:8,.0f} MB more at its peak   {most / logits:.2f} x the logits")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nanochat", type=Path, help="a checkout of nanochat at 4a87a0d")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    programs = {"slow twin": ours(attention.attend, plain_loss), "ours": ours(FUSED, head_loss)}
    programs["ours, readable attention"] = ours(attention.attend, head_loss)
    programs["ours, plain loss"] = ours(FUSED, plain_loss)
    if options.nanochat:
        if not (options.nanochat / "nanochat" / "muon.py").is_file():
            parser.error(
                f"{options.nanochat} is no checkout of nanochat at 4a87a0d: nanochat/muon.py is missing"
            )
        programs["nanochat, late 2025"] = theirs(options.nanochat)
    compare(programs)
    memory()


if __name__ == "__main__":
    main()
