"""AdamW's settings, measured on the microworld, and the cost of a step. For ADR 301 and optimizers-comparison.md.

    python tools/bench/adamw.py            settings, three seeds
    python tools/bench/adamw.py decay      decay apart against a penalty in the loss, three seeds
    python tools/bench/adamw.py cost       our step beside torch's, as ratios

Each takes less than four minutes of one core. A model of two layers and 64 features reads windows of 64
bytes, 16 at a time, for 200 steps: the first minute of a training, not its end.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mini_nanochat.microworld.documents import gather
from mini_nanochat.microworld.world import build
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.optim.adamw import AdamW

STEPS, BATCH, SEEN, SEEDS = 200, 16, 64, (0, 1, 2)
CONFIG = GPTConfig(sequence_len=SEEN, vocab_size=256, n_layer=2, n_head=2, n_kv_head=2, n_embd=64)
Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


class Penalty(AdamW):
    """AdamW with weight_decay as a penalty in the loss: it goes through the gradient (Adam with L2)."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            for w in group["params"]:
                w.grad.add_(w, alpha=group["weight_decay"])
            group["weight_decay"] = 0.0
        super().step()
        for group, weight_decay in zip(self.param_groups, decays):
            group["weight_decay"] = weight_decay


def as_bytes(split: str, size: int) -> Tensor:
    """Documents of the microworld, one after the other, as ids 0 to 255."""
    return torch.tensor(list("\n".join(text for _, text in gather(build(0), split, size)).encode()))


def batch(text: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    at = torch.randint(len(text) - SEEN - 1, (n,), generator=generator)
    rows = text[at[:, None] + torch.arange(SEEN + 1)]
    return rows[:, :-1], rows[:, 1:]


def train(make: Make, seed: int, texts: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """(bits per byte on text that was not seen, size of the matrices in blocks at the end)."""
    model = GPT(CONFIG)
    model.init(seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = make(list(model.parameters()))
    for _ in range(STEPS):
        model.loss(*batch(texts[0], BATCH, generator)).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        loss = model.loss(*batch(texts[1], 512, torch.Generator().manual_seed(9))).item()
        size = torch.cat([w.flatten() for w in model.blocks.parameters()]).square().mean().sqrt().item()
    return loss / math.log(2), size


def row(name: str, make: Make, texts: tuple[Tensor, Tensor]) -> None:
    found = [train(make, seed, texts) for seed in SEEDS]
    bits, sizes = zip(*found)
    mean, each = sum(bits) / len(bits), " ".join(f"{b:.3f}" for b in bits)
    size = sum(sizes) / len(sizes)
    print(
        f"{name:44} {each}   mean {mean:.3f}, span {max(bits) - min(bits):.3f}, weights {size:.3f}",
        flush=True,
    )


def settings(texts: tuple[Tensor, Tensor]) -> None:
    for betas in ((0.8, 0.95), (0.9, 0.95), (0.9, 0.999)):
        for eps in (1e-10, 1e-8):
            if betas == (0.9, 0.95) and eps == 1e-8:
                continue
            for lr in (0.003, 0.01, 0.03) if eps == 1e-10 else (0.01,):
                name = f"betas {betas}, eps {eps}, rate {lr}"
                row(name, lambda ws, b=betas, e=eps, r=lr: AdamW(ws, lr=r, betas=b, eps=e), texts)


def decays(texts: tuple[Tensor, Tensor]) -> None:
    row("no decay", lambda ws: AdamW(ws, lr=0.01), texts)
    for name, rule, sizes in (
        ("apart", AdamW, (0.01, 0.1, 1.0)),
        ("in the loss", Penalty, (1e-4, 1e-3, 1e-2)),
    ):
        for size in sizes:
            row(f"{name}, {size}", lambda ws, r=rule, s=size: r(ws, lr=0.01, weight_decay=s), texts)


def cost() -> None:
    """Steps alone, on gradients that stay the same. The best of seven rounds."""
    for name, shapes in (
        ("a model of depth 4 (26 matrices, 3.7 million numbers)", None),
        ("300 weights of 100 numbers", [(100,)] * 300),
    ):
        if shapes is None:
            config = GPTConfig.from_depth(4, 1024, 256)
            shapes = [tuple(w.shape) for w in GPT(config).parameters()]
        ways = {
            "ours": AdamW,
            "torch, one by one": lambda ws, **s: torch.optim.AdamW(ws, foreach=False, **s),
            "torch, foreach": lambda ws, **s: torch.optim.AdamW(ws, foreach=True, **s),
            "torch, fused": lambda ws, **s: torch.optim.AdamW(ws, fused=True, **s),
        }
        best = {}
        made = {}
        for way, rule in ways.items():
            ws = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
            for w in ws:
                w.grad = torch.randn_like(w)
            made[way] = rule(ws, lr=0.001, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.1)
            made[way].step()
        for _ in range(7):  # taking turns, so that a busy machine is busy for all
            for way, optimizer in made.items():
                start = time.process_time()
                for _ in range(5):
                    optimizer.step()
                best[way] = min(best.get(way, math.inf), time.process_time() - start)
        count = sum(math.prod(shape) for shape in shapes)
        print(f"{name}: {len(shapes)} weights, {count:,} numbers")
        for way, seconds in best.items():
            print(f"    {way:20} {seconds / best['ours']:.2f} times ours")


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    mode = arguments[0] if arguments else "settings"
    if mode == "cost":
        return cost()
    texts = as_bytes("train", 400_000), as_bytes("val", 100_000)
    return decays(texts) if mode == "decay" else settings(texts)


if __name__ == "__main__":
    main(sys.argv[1:])
