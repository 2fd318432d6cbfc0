"""What does a head of its own bring? And what does the one dial give? Tables of decision 105.

    python tools/bench/tied.py shapes     from_depth 2 to 32: parameters, operations, bytes
    python tools/bench/tied.py losses     heads of their own and tied ones, three seeds

The second trains models of two layers on bytes, predicting the docstrings of Python's standard library (about
four minutes on one core). What is printed are bits per byte on text that the model has not seen, one number for
each seed. A tied model has one learning rate for embedding and head, the others have two.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from mini_nanochat.corpus import stdlib_prose
from mini_nanochat.model.gpt import GPT, GPTConfig, count_parameters, flops_per_token, training_bytes
from mini_nanochat.model.head import head_loss

WIDTH, LENGTH, BATCH, STEPS, RATE = 128, 64, 16, 250, 0.003
CONFIG = GPTConfig(LENGTH, 256, 2, 2, 2, WIDTH)


def shapes() -> None:
    """One row for each depth, with 8,192 ids and 256 positions."""
    print(
        f"{'depth':>5}{'width':>7}{'heads':>7}{'parameters':>15}{'FLOPs a token':>15}{'MB, batch of 8':>16}"
    )
    for depth in (2, 4, 6, 8, 12, 16, 20, 26, 32):
        c = GPTConfig.from_depth(depth, 8192, 256)
        n, memory = count_parameters(c)["total"], training_bytes(c, 8)["total"]
        print(f"{depth:5}{c.n_embd:7,}{c.n_head:7}{n:15,}{flops_per_token(c):15.2e}{memory / 1e6:16,.0f}")


def batch(text: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    at = torch.randint(len(text) - LENGTH - 1, (n,), generator=generator)
    rows = text[at[:, None] + torch.arange(LENGTH + 1)]
    return rows[:, :-1], rows[:, 1:]


def loss(model: GPT, tied: bool, ids: Tensor, targets: Tensor) -> Tensor:
    weight = model.wte.weight / WIDTH**0.5 if tied else model.lm_head.weight  # logits of size 1 at first
    return head_loss(model.features(ids).flatten(0, 1), weight, targets.flatten(), 15.0)


def bits_per_byte(tied: bool, wte: float, head: float, seed: int, text: Tensor) -> tuple[float, float]:
    """Trains on the first million bytes; the first loss, and the loss on the rest, in bits."""
    seen, held_out = text[:1_000_000], text[1_000_000:]
    model, generator = GPT(CONFIG), torch.Generator().manual_seed(seed)
    model.init(seed)
    groups = [
        {"params": [model.wte.weight], "lr": wte},
        {"params": [model.lm_head.weight], "lr": head},
        {"params": list(model.blocks.parameters()), "lr": RATE},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)
    first = 0.0
    for step in range(STEPS):
        now = loss(model, tied, *batch(seen, BATCH, generator))
        optimizer.zero_grad()
        now.backward()
        optimizer.step()
        first = now.item() if step == 0 else first
    with torch.no_grad():
        last = loss(model, tied, *batch(held_out, 512, torch.Generator().manual_seed(9))).item()
    return first / 0.693147, last / 0.693147


def losses() -> None:
    text = torch.tensor(list("\n".join(stdlib_prose(1_200_000)).encode()))
    kinds = (
        ("own", False, 0.003, 0.003),
        ("own", False, 0.03, 0.01),
        ("tied", True, 0.003, 0.003),
        ("tied", True, 0.03, 0.03),
        ("tied", True, 0.1, 0.1),
    )
    print("head   rates of embedding and head   first   last, three seeds")
    for name, tied, wte, head in kinds:
        start = time.perf_counter()
        runs = [bits_per_byte(tied, wte, head, seed, text) for seed in (1, 2, 3)]
        last = [run[1] for run in runs]
        each = " ".join(f"{b:.3f}" for b in last)
        took = time.perf_counter() - start
        print(
            f"{name:6} {wte:<6} {head:<21} {runs[0][0]:5.2f}   {each}   mean {sum(last) / 3:.3f}, "
            f"span {max(last) - min(last):.3f}   {took:.0f} s",
            flush=True,
        )


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    if arguments[:1] == ["shapes"]:
        return shapes()
    return losses()


if __name__ == "__main__":
    main(sys.argv[1:])
