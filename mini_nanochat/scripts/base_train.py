"""Pretrain a model on the documents of a data set. Stopped or killed at any moment, it goes on with --resume.

Depth is the one dial: with --n-embd none --steps none the width, the heads, the batch and the length of the run follow
from it. The defaults are a laptop's: a small model of the microworld, in two or three minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from tqdm import tqdm

from mini_nanochat import flags, records, runtime
from mini_nanochat.data import loader, shards
from mini_nanochat.flags import flag
from mini_nanochat.microworld import core
from mini_nanochat.model.gpt import GPT, GPTConfig, count_parameters, flops_per_token
from mini_nanochat.optim import muon, precision
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train import checkpoint, picture, run, schedule, step, tracker

EXAMS = "../exams/core.jsonl"  # beside the documents, where they are the microworld's
ITEMS = 24  # of each task of mini-CORE; base-eval takes all


@dataclass(frozen=True)
class Config:
    """Settings of a run. Raises ValueError for sizes that cannot work."""

    data: Path = flag(Path("runs/microworld/documents"), "folder of shards; see `mini-nanochat data`")
    tokenizer: Path = flag(Path("runs/microworld/tokenizer"), "folder of a tokenizer; see tok-train")
    out: Path = flag(Path("runs/base"), "folder of the run: checkpoints, metrics, tokenizer")
    resume: bool = flag(False, "go on from the newest whole checkpoint in --out")
    depth: int = flag(4, "layers")
    n_embd: int | None = flag(128, "features; none: 64 for each layer")
    sequence_len: int = flag(256, "positions in a row")
    batch_size: int = flag(16, "rows that go through at once; less, if memory is short")
    batch_tokens: int | None = flag(None, "tokens in a batch; none: from the tokens of the run")
    steps: int | None = flag(250, "updates; none: from --ratio")
    ratio: float = flag(20.0, "tokens for each parameter, where --steps is none")
    matrix_lr: float = flag(0.03, "rate of Muon, for the matrices")
    embedding_lr: float = flag(0.15, "rate of AdamW for the embedding, at 768 features")
    head_lr: float = flag(0.004, "rate of AdamW for the head, at 768 features")
    weight_decay: float = flag(0.0, "of the matrices")
    warmup: int = flag(0, "steps on which rates rise")
    warmdown: float = flag(0.6, "share of the steps, at the end, on which rates fall to zero")
    clip: float | None = flag(None, "largest norm of a gradient; none: no limit")
    dtype: str | None = flag(None, "of activations: float32, bfloat16, float16; none: what is fast here")
    device: str | None = flag(None, "cpu, cuda, mps; none: the best one here")
    compile: bool = flag(False, "torch.compile the model: half a minute, for runs of many minutes")
    seed: int = flag(0, "of the weights")
    eval_every: int = flag(50, "steps between looks at the validation text")
    eval_tokens: int = flag(100_000, "tokens of each such look")
    save_every: int = flag(50, "steps between checkpoints")
    track: str | None = flag(None, "wandb or tensorboard, if installed: show the metrics there too")

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) is int and name not in ("warmup", "seed") and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.warmdown <= 1:
            raise ValueError(f"warmdown must lie in 0..1, got {self.warmdown}")
        if self.dtype not in (None, "float32", "bfloat16", "float16"):
            raise ValueError(f"dtype must be float32, bfloat16, float16 or none, got {self.dtype}")
        if self.track not in (None, *tracker.TRACKERS):
            raise ValueError(f"track must be {', '.join(tracker.TRACKERS)} or none, got {self.track}")
        if self.track and find_spec(self.track) is None:
            raise ValueError(f"track {self.track} needs a package that is not here: pip install {self.track}")


def plan(config: Config, vocab_size: int) -> tuple[Config, GPTConfig]:
    """The settings with all that follows from depth filled in, and the shape of the model."""
    shape = GPTConfig.from_depth(config.depth, vocab_size, config.sequence_len)
    if config.n_embd is not None:
        heads = max(2, config.n_embd // 128)
        shape = replace(shape, n_embd=config.n_embd, n_head=heads, n_kv_head=heads)
    at_once = config.batch_size * config.sequence_len
    total = schedule.tokens_for(count_parameters(shape)["total"], config.ratio)
    if config.steps is not None:
        total = config.steps * (config.batch_tokens or at_once)
    batch = config.batch_tokens or max(at_once, schedule.batch_tokens(total) // at_once * at_once)
    steps = config.steps or schedule.steps_for(total, batch)
    return replace(config, n_embd=shape.n_embd, batch_tokens=batch, steps=steps), shape


class Training:
    """Everything that a step needs, put together from the settings."""

    def __init__(self, config: Config, shape: GPTConfig, tokenizer: Tokenizer, dtype: torch.dtype) -> None:
        self.config, self.tokenizer, self.dtype = config, tokenizer, dtype
        self.device = runtime.pick_device(config.device)
        torch.manual_seed(config.seed)
        self.model = GPT(shape).to(self.device)
        self.model.init(config.seed)
        self.model.compute_dtype = dtype
        self.loss = torch.compile(self.model.loss, dynamic=False) if config.compile else self.model.loss
        rates = (config.matrix_lr, config.embedding_lr, config.head_lr, config.weight_decay)
        # Newton-Schulz leaves the range of float16.
        ns_dtype = torch.bfloat16 if dtype == torch.float16 else dtype
        self.optimizers = muon.optimizers(self.model, shape.n_embd, *rates, dtype=ns_dtype)
        self.scaler = precision.LossScaler() if dtype == torch.float16 else None
        train, self.val = shards.train_and_val(config.data)
        self.sizes = (config.batch_size, config.sequence_len)
        self.batches = loader.Loader(train, tokenizer, *self.sizes, device=self.device)
        assert config.batch_tokens is not None
        self.parts = schedule.parts_of_batch(config.batch_tokens, *self.sizes)
        self.run = run.Run(config.out, self.model, self.optimizers, self.batches, self.scaler)
        self.tracker: tracker.Tracker | None = None

    def one(self, number: int) -> step.Step:
        """A step."""
        assert self.config.steps is not None
        share = schedule.rate_at(number, self.config.steps, self.config.warmup, self.config.warmdown)
        schedule.set_rates(self.optimizers, share)
        self.optimizers[1].param_groups[0]["momentum"] = schedule.momentum_at(number)
        parts = list(islice(self.batches, self.parts))
        most = float("inf") if self.config.clip is None else self.config.clip
        return step.train_step(self.loss, parts, self.optimizers, most, self.scaler)

    def look(self, done: int) -> str:
        """Measures the model after so many steps, notes it in the metrics, and says it, with a sample."""
        facts: dict[str, float] = {
            "val_bpb": run.val_bpb(self.model, self.tokenizer, self.val, *self.sizes, self.config.eval_tokens)
        }
        exams = self.config.data / EXAMS
        if exams.is_file():
            items = core.load_items(exams, ITEMS)
            scores = core.mini_core(self.model, self.tokenizer, items, self.config.sequence_len, self.device)
            facts |= {"mini_core": core.average(scores)}
            facts |= {name: score.accuracy for name, score in scores.items()}
        records.append(self.run.metrics, step=done - 1, **facts)
        if self.tracker:
            self.tracker.send()
        known = f", mini-CORE {facts['mini_core']:5.2f}" if "mini_core" in facts else ""
        bar = "#" * round(10 * facts["val_bpb"])
        words = run.document(self.model, self.tokenizer, seed=done)
        return f"after {done} steps: {facts['val_bpb']:.3f} bits per byte{known} {bar}\n  {words}"

    def train(self, start: int, say: Callable[[str], None]) -> int:
        """Steps from `start` on, to the end or until it is asked to stop; returns how many are done then.

        Raises ValueError, with what is known, where the loss is no number any more.
        """
        config, done = self.config, start
        assert config.steps is not None
        kernel = precision.attention_kernel(self.device, self.dtype, config.sequence_len)
        with run.Stop() as stop, kernel:
            if not start:
                say(self.look(0))
            try:
                for number, _ in step.steps(self.one, range(start, config.steps), self.run.metrics):
                    done = number + 1
                    end = done == config.steps
                    if end or done % config.eval_every == 0:
                        say(self.look(done))
                    if end or done % config.save_every == 0 or stop.asked:
                        self.run.save(done)
                    if stop.asked:
                        break
            except FloatingPointError as error:
                last = checkpoint.newest(config.out, say)
                raise ValueError(
                    f"{error}. The data stood at {self.batches.position}; no weight was changed. The last checkpoint "
                    f"is {last or 'none yet'}: begin another run with smaller rates (--out)"
                ) from error
        return done


def settings(config: Config, tokenizer: Tokenizer, dtype: torch.dtype) -> dict[str, object]:
    """What must be the same when a run goes on."""
    free = {"data", "tokenizer", "out", "resume", "device", "compile"}
    free |= {"eval_every", "eval_tokens", "save_every", "track"}
    fixed = {name: value for name, value in asdict(config).items() if name not in free}
    return {**fixed, "dtype": str(dtype).removeprefix("torch."), "tokenizer": tokenizer.fingerprint}


def dtype_of(config: Config, device: torch.device) -> tuple[torch.dtype, str]:
    """The dtype of activations, and why: as asked for, as the run began, or what is fast here."""
    if config.dtype:
        return getattr(torch, config.dtype), f"{config.dtype}: as asked for"
    if config.resume:
        name = run.settings_of(config.out)["dtype"]
        return getattr(torch, name), f"{name}: as the run began"
    return precision.choose_dtype(device)


def finish(console: Console, training: Training) -> None:
    """What the run came to: speed, a few samples, a picture."""
    taken = [one for one in records.read(training.run.metrics) if "seconds" in one]
    speed = sum(one["tokens"] for one in taken) / sum(one["seconds"] for one in taken)
    peak, against = runtime.peak_flops(training.device), "what its maker promises"
    if peak is None:
        peak = precision.flops(training.dtype, training.device, 1024)
        against = "what a plain product of matrices reaches here"
    share = step.mfu(speed, flops_per_token(training.model.config), peak)
    console.print(f"{speed:,.0f} tokens a second: {share:.0%} of {against}")
    console.print("\nWhat it writes now", style="bold")
    for seed in range(3):
        console.print(f"  {run.document(training.model, training.tokenizer, seed)}")
    console.print(f"\nModel, metrics and tokenizer: {training.config.out}")
    console.print(picture.draw(training.run.metrics, training.config.out / "run.png"))


def main(config: Config) -> None:
    """Trains. Raises ValueError or OSError for data, a tokenizer, a folder or sizes that cannot work."""
    console = Console(markup=False, emoji=False, highlight=False)
    tokenizer = Tokenizer.load(config.tokenizer)
    device = runtime.pick_device(config.device)
    dtype, why = dtype_of(config, device)
    config, shape = plan(config, tokenizer.vocab_size)
    training = Training(config, shape, tokenizer, dtype)
    n_parameters = count_parameters(shape)["total"]
    assert config.steps and config.batch_tokens
    total = config.steps * config.batch_tokens
    console.print(
        f"{n_parameters:,} parameters: {shape.n_layer} layers x {shape.n_embd} features, {shape.n_head} heads, "
        f"{shape.vocab_size:,} ids, {shape.sequence_len} positions\n"
        f"{config.steps:,} steps of {config.batch_tokens:,} tokens: {total / n_parameters:.1f} for each parameter\n"
        f"on {device}, {why}"
    )
    wanted = settings(config, tokenizer, dtype)
    start = 0
    if config.resume:
        start = training.run.resume(wanted, tokenizer, console.print)
        console.print(f"goes on after step {start}")
    else:
        training.run.begin(wanted, tokenizer)
    if config.track:
        training.tracker = tracker.Tracker(config.track, config.out, training.run.metrics, wanted)
    done = training.train(start, tqdm.write)
    if done < config.steps:
        console.print(f"Saved after {done} steps. Go on with the same command and --resume.")
        raise KeyboardInterrupt
    finish(console, training)


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat base-train", description=__doc__))
