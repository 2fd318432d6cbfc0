"""What base-train's defaults come to on the microworld, over several seeds: the bands that docs/training.md states.

    python tools/bench/pretraining.py
    python tools/bench/pretraining.py --seeds 5 -- --steps 500 --batch-size 8

What stands after `--` goes to base-train. One world and one tokenizer serve all seeds; the seed is that of the
weights. Two and a half minutes a seed on two old cores without units for bfloat16.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from mini_nanochat import records
from mini_nanochat.data import shards
from mini_nanochat.microworld import core
from mini_nanochat.model.gpt import GPT
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train import run

CPU = torch.device("cpu")


def program(*words: object) -> None:
    """Runs one of our programs to its end. Raises CalledProcessError."""
    command = [sys.executable, "-m", "mini_nanochat", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(model: GPT, tokenizer: Tokenizer, world: Path) -> dict[str, float]:
    """Name -> figure, on all items and the whole validation text."""
    length = model.config.sequence_len
    _, val = shards.train_and_val(world / "documents")
    items = core.load_items(world / "exams" / "core.jsonl")
    scores = core.mini_core(model, tokenizer, items, length, CPU)
    figures = {"bits per byte": run.val_bpb(model, tokenizer, val, 16, length, 1_000_000)}
    figures |= {name: score.accuracy for name, score in scores.items()}
    return {**figures, "mini-CORE": core.average(scores)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("flags", nargs="*", help="for base-train, after --")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        world, vocabulary = Path(folder, "microworld"), Path(folder, "tokenizer")
        data = ("--data", world / "documents")
        program("microworld", "--samples", 0, "--out", world)
        program("tok-train", *data, "--out", vocabulary)
        for seed in range(options.seeds):
            out = Path(folder, f"seed_{seed}")
            program(
                "base-train", *data, "--tokenizer", vocabulary, "--out", out, "--seed", seed, *options.flags
            )
            model, tokenizer, steps = run.model_of(out, print)
            rows.append(measure(model, tokenizer, world))
            taken = [one["seconds"] for one in records.read(out / "metrics.jsonl") if "seconds" in one]
            said = f"seed {seed}: {steps} steps in {sum(taken):.0f} s, mini-CORE {rows[-1]['mini-CORE']:.3f}"
            print(said, flush=True)
        untrained = GPT(model.config)
        untrained.init()
        before = measure(untrained, tokenizer, world)
    print(f"{'':16}{'untrained':>10}  {'seeds, from':>12} {'to':>6}")
    for name, value in before.items():
        found = [row[name] for row in rows]
        print(f"{name:16}{value:10.3f}  {min(found):12.3f} {max(found):6.3f}")


if __name__ == "__main__":
    main()
