"""Where the time and the memory of training go: by phase, by module, by kernel; and what to try next.

    python tools/profiler/profile_training.py --config examples/tiny_model.py --steps 100

The config is a Python file with a function `build()`, which returns (model, optimizers, batches): a GPT, a list of
optimizers, and batches (x, y) without end. A step here is one batch. Looking costs time, so there are three looks:

    plain      --steps steps with a clock between the phases and nothing else: the speed, and the phases
    watched    a few steps with marks between the modules: the modules
    profiled   a few steps under torch.profiler, which makes them slower: the kernels, the picture, the trace

The first steps warm up, and count nowhere. Times are means, because a loader works in bursts. In --out:
profile.json, timeline.png (one step), and trace.json for https://ui.perfetto.dev.
"""

from __future__ import annotations

import os

# torch reads these while it is imported. Without them its own log would stand between our lines.
if __name__ == "__main__":
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import json
import statistics
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import timeline
import torch
from measuring import BETWEEN, HEAD, PHASES, STEP, Job
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, record_function

from mini_nanochat import flags
from mini_nanochat.flags import flag
from mini_nanochat.model.gpt import flops_per_token, training_bytes
from mini_nanochat.optim.precision import WORTH_IT, attention_kernel, flops
from mini_nanochat.train.step import mfu

WARMUP, WATCHED, PROFILED = 5, 10, 3  # steps
CEILING = {"cpu": 1024}  # side of the square product that is the ceiling; others need LARGE to be busy
LARGE = 8192
# What is worth a sentence, as a share of a step, unless it says otherwise.
DATA, OPTIMIZER, IDLE = 0.05, 0.15, 0.2
QUIET = 0.9  # of the time of plain steps; below it, other programs (or the disk) took the rest
ROUNDS = 4  # the ceiling is measured before each part of the plain steps
MFU = 0.4  # of the ceiling
GAIN = 1.1  # times: a step in bfloat16 is so much faster
FASTER = 1.2  # times: a product of another shape gets so much more done
ATTENTION, LONG = 0.25, 512  # of the forward pass; positions


@dataclass(frozen=True)
class Config:
    """Settings of the profiler. Raises ValueError for fewer than one step."""

    config: Path = field(metadata={"help": "Python file with build(), such as examples/tiny_model.py"})
    steps: int = flag(100, "steps to measure without the profiler")
    out: Path = flag(Path("runs/profile"), "folder for the JSON, the picture and the trace")

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


def look(job: Job, steps: int, out: Path) -> dict[str, Any]:
    """Measures everything, and writes the trace and the picture. The three looks are taken one after the other."""
    device, dtype, shape = job.device, job.model.compute_dtype, job.model.config
    side = CEILING.get(device.type, LARGE)
    x, _ = job.batch()
    tokens = x.numel()
    with attention_kernel(device, dtype, x.shape[1]):
        measuring.timed(job, WARMUP)
        plain, ceiling, busy = list[list[measuring.Span]](), 0.0, 0.0
        for i in range(ROUNDS):  # in turns, because a shared machine is not equally fast all the time
            ceiling = max(ceiling, flops(dtype, device, side))
            before = time.process_time()
            plain += measuring.timed(job, steps * (i + 1) // ROUNDS - steps * i // ROUNDS)
            busy += time.process_time() - before
        modules = measuring.watched(job, WATCHED, nullcontext)
        held = measuring.memory(job)
        kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
        measuring.watched(job, 1, partial(profile, activities=kinds, profile_memory=True))  # warms up, too
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with profile(activities=kinds, profile_memory=True) as prof:
            traced = measuring.watched(job, PROFILED, partial(record_function, STEP))
    grown, where = measuring.export(prof, traced, out / "trace.json")
    at_rest = held["weights"] + held["moments"] + sum(one.nbytes for one in job.model.buffers())
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else at_rest + grown
    lengths = [1000 * (spans[-1].end - spans[0].start) for spans in plain]
    speed = 1000 * tokens * len(lengths) / sum(lengths)
    phases = measuring.mean_ms(plain, lambda span: span.phase)
    rows = measuring.kernels(prof, device, PROFILED)
    of_traced = measuring.mean_ms(traced, lambda span: span.phase)
    slow = sum(of_traced.values())
    groups = {group: sum(row["ms"] for row in rows if row["group"] == group) for group in order(rows)}
    groups[BETWEEN] = groups.get(BETWEEN, 0.0) + max(0.0, slow - sum(groups.values()))
    shapes = {
        "own": (tokens, shape.n_embd),
        "rows": (4 * tokens, shape.n_embd),
        "wide": (tokens, 2 * shape.n_embd),
    }
    gain = None
    if dtype == torch.float32 and flops(torch.bfloat16, device, side) > WORTH_IT * ceiling:
        gain = measuring.bfloat16_gain(job, x.shape[1])
    facts = {
        "device": str(device) if device.type != "cuda" else torch.cuda.get_device_name(device),
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "shape": asdict(shape),
        "batch": list(x.shape),
        "steps": {"warmup": WARMUP, "plain": steps, "watched": WATCHED, "profiled": PROFILED},
        "tokens_per_second": speed,
        "flops_per_token": flops_per_token(shape),
        "ceiling": ceiling,
        "ceiling_side": side,
        "mfu": mfu(speed, flops_per_token(shape), ceiling),
        "step_ms": sum(phases.values()),
        "median_step_ms": statistics.median(lengths),
        "watched_step_ms": sum(measuring.mean_ms(modules, lambda span: 0).values()),
        "profiled_step_ms": slow,
        "phases_ms": {name: phases.get(name, 0.0) for name in PHASES},
        "modules_ms": by_module(measuring.mean_ms(modules, lambda span: (span.module, span.phase))),
        "groups_ms": groups,
        "kernels": rows,
        "memory": {**held, "at_rest": at_rest, "peak": peak, "peak_in": where},
        "planned_memory": training_bytes(shape, x.shape[0]),
        "products": {name: measuring.product(job, *one) / ceiling for name, one in shapes.items()},
        "bfloat16": gain,
        "running": min(1.0, 1000 * busy / sum(lengths)),
        "attention": measuring.attention_share(prof, device, PROFILED * of_traced["forward"]),
    }
    middle = sorted(range(PROFILED), key=lambda i: traced[i][-1].end - traced[i][0].start)[PROFILED // 2]
    kernel_lanes = measuring.lanes(prof, device, measuring.roots(prof)[middle])
    facts["picture"] = timeline.draw(traced[middle], kernel_lanes, facts, out / "timeline.png")
    return facts


def order(rows: list[dict[str, Any]]) -> list[str]:
    """The groups, the one that takes longest first."""
    names = {row["group"] for row in rows}
    return sorted(names, key=lambda name: -sum(row["ms"] for row in rows if row["group"] == name))


def by_module(ms: dict[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    """Module -> phase -> ms."""
    found: dict[str, dict[str, float]] = {}
    for (module, phase), value in ms.items():
        found.setdefault(module, {})[phase] = value
    return found


def advice(facts: dict[str, Any]) -> list[str]:
    """What to try next: a sentence for each rule that the figures meet, or one that says that none does."""
    said, step_ms = [], facts["step_ms"]
    rows, positions = facts["batch"]
    share = {name: ms / step_ms for name, ms in facts["phases_ms"].items()}
    if share["data"] > DATA:
        said.append(
            f"Data loading takes {share['data']:.0%} of a step, and the model waits meanwhile. Tokenize before "
            "training, or fetch the next batch in another thread or process while this one is computed."
        )
    if share["optimizer"] > OPTIMIZER:
        said.append(
            f"The optimizer takes {share['optimizer']:.0%} of a step, and takes as long for a small batch as for a "
            "large one. A larger batch pays for it less often."
        )
    if (facts["bfloat16"] or 0) > GAIN:
        said.append(
            f"It computes in float32. In bfloat16 forward and backward were {facts['bfloat16']:.1f} times as fast "
            "here, in turns: set model.compute_dtype = torch.bfloat16, and watch that the loss stays the same."
        )
    if facts["mfu"] < MFU:
        said.append(_why_low(facts, rows * positions))
    idle = facts["groups_ms"][BETWEEN] / facts["profiled_step_ms"]
    if idle > IDLE:
        said.append(
            f"{idle:.0%} of a profiled step passes between operations (Python, autograd, the profiler itself): they "
            "are many and short. A larger batch makes them longer; torch.compile makes them fewer."
        )
    if facts["attention"] > ATTENTION and positions >= LONG:
        said.append(
            f"Comparing positions takes {facts['attention']:.0%} of the forward pass at {positions} positions. Its "
            "cost for each token grows with the length of a row: shorter rows, and more of them, cost less."
        )
    return said or ["Nothing stands out. A faster machine, or a smaller model, is what is left."]


def _why_low(facts: dict[str, Any], rows: int) -> str:
    """What keeps the machine from its ceiling, as far as products of other shapes can tell."""
    c, products = facts["shape"]["n_embd"], facts["products"]
    alone = f"reaches {products['own']:.0%} of it" if products["own"] < 0.9 else "runs about as fast as that"
    text = (
        f"MFU is {facts['mfu']:.0%} of the ceiling. An MLP's first product, ({rows}, {c}) x ({c}, {4 * c}), by itself "
        + alone
    )
    tries = {"rows": "four times the rows (a larger batch)", "wide": "twice the features (a wider model)"}
    better = [f"{products[name]:.0%} with {what}" for name, what in tries.items()
              if products[name] > FASTER * products["own"]]  # fmt: skip
    if better:
        return f"{text}, because its matrices are small: it would reach {' and '.join(better)}."
    group, ms = max(
        ((name, ms) for name, ms in facts["groups_ms"].items() if name != "matrix products"),
        key=lambda one: one[1],
    )
    return (
        f"{text}, so most is lost elsewhere: `{group}` takes {ms / facts['profiled_step_ms']:.0%} of a step."
    )


# -- showing --------------------------------------------------------------------------------------


def table(*columns: str) -> Table:
    """An empty table, its first column to the left and the others to the right."""
    made = Table(box=SIMPLE)
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left")
    return made


def tables(facts: dict[str, Any]) -> dict[str, Table]:
    """What was measured: title -> table."""
    phases = table("phase", "ms", "share")
    for name, ms in facts["phases_ms"].items():
        phases.add_row(name, f"{ms:.2f}", f"{ms / facts['step_ms']:.1%}")
    phases.add_row("step", f"{facts['step_ms']:.2f}", "")
    modules = table("module", "forward", "backward", "other", "share")
    for name, ms in facts["modules_ms"].items():
        other = sum(value for phase, value in ms.items() if phase not in ("forward", "backward"))
        cells = [f"{value:.2f}" if value else "" for value in (ms.get("forward"), ms.get("backward"), other)]
        modules.add_row(name, *cells, f"{sum(ms.values()) / facts['watched_step_ms']:.1%}")
    kernels = table("operation", "ms", "share", "calls")
    for group, ms in facts["groups_ms"].items():
        kernels.add_row(group, f"{ms:.2f}", f"{ms / facts['profiled_step_ms']:.1%}", "", style="bold")
        for row in [row for row in facts["kernels"] if row["group"] == group][: 3 * (group != BETWEEN)]:
            name = row["name"].removeprefix("aten::")
            short = name if len(name) <= 42 else f"{name[:24]}...{name[-15:]}"
            kernels.add_row(f"  {short}", f"{row['ms']:.2f}", "", f"{row['calls']:,.0f}")
    held, planned = facts["memory"], facts["planned_memory"]
    memory = table("kind", "measured", "planned")
    for name in ("weights", "gradients", "moments", "activations", "weights, cast"):
        memory.add_row(
            name, f"{held[name] / 1e6:.2f}", f"{planned[name] / 1e6:.2f}" if name in planned else ""
        )
    where = f"peak, in {held['peak_in']}" if held["peak_in"] else "peak"
    memory.add_row(where, f"{held['peak'] / 1e6:.2f}", f"{planned['total'] / 1e6:.2f}")
    count = facts["steps"]
    return {
        f"Phases, a mean of {count['plain']} plain steps": phases,
        f"Modules, ms of a step, a mean of {count['watched']} watched steps": modules,
        f"Operations, own time of a step, a mean of {count['profiled']} profiled steps": kernels,
        "Memory in MB: measured, and planned by model.gpt.training_bytes": memory,
    }


def main(config: Config) -> None:
    """Profiles. Raises ValueError or OSError for a config that cannot be used."""
    console = Console(markup=False, emoji=False, highlight=False)
    job = measuring.load(config.config)
    config.out.mkdir(parents=True, exist_ok=True)
    facts = look(job, config.steps, config.out)
    facts["config"], facts["advice"] = str(config.config), advice(facts)
    (config.out / "profile.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    for title, shown in tables(facts).items():
        console.print(title, style="bold")
        console.print(shown)
    rows, positions = facts["batch"]
    console.print(
        f"{facts['tokens_per_second']:,.0f} tokens a second: {rows} rows of {positions}, {facts['dtype']}, "
        f"{facts['device']}, threads: {facts['threads']}\n"
        f"MFU {facts['mfu']:.1%}: the model's own arithmetic, as a share of the {facts['ceiling'] / 1e9:,.0f} GFLOP/s "
        f"that a product of two {facts['ceiling_side']} x {facts['ceiling_side']} matrices reaches here\n"
        f"A step took {facts['step_ms']:.1f} ms plainly, {facts['watched_step_ms']:.1f} ms with marks between the "
        f"modules, {facts['profiled_step_ms']:.1f} ms under the profiler: take the speed from the first, and only "
        "shares from the others.\n"
        f"The head makes its gradients on its way forward, so `{HEAD}` has a short backward pass.\n"
    )
    if facts["device"] == "cpu" and facts["running"] < QUIET:
        console.print(
            f"This machine was busy: this program ran for only {facts['running']:.0%} of the time. All times are too "
            "long, and shares are uncertain. Measure again when it is quiet.\n"
        )
    console.print("What to try next", style="bold")
    for one in facts["advice"]:
        console.print(f"- {one}")
    console.print(f"\nPicture {facts['picture']}\nFigures {config.out / 'profile.json'}")
    console.print(f"Trace   {config.out / 'trace.json'}: open it in https://ui.perfetto.dev")


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="profile_training", description=__doc__))
