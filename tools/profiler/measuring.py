"""Measuring for profile_training.py: spans between marks of a clock, bytes, operations, and the trace.

A step is cut by marks into spans that follow one another without a gap, so that parts always add up to the whole.
"""

from __future__ import annotations

import json
import math
import re
import runpy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import Optimizer
from torch.profiler import profile

from mini_nanochat.model.gpt import GPT
from mini_nanochat.optim.precision import attention_kernel
from mini_nanochat.train import step

PHASES = ("data", "forward", "backward", "optimizer")
HEAD, STEP, BETWEEN = "head and loss", "profiled step", "between operations"
GROUPS = (  # the first pattern that fits the name of an operation (CPU) or a kernel (GPU) says its group
    ("attention kernels", r"scaled_dot_product|softmax|flash|fmha"),
    ("matrix products", r"mm$|gemm|matmul|cutlass|nvjet|xmma|aten::(linear|mv|dot)$"),
    ("copies, casts, views", r"copy|cpy|memset|empty|fill|zero|view|reshape|transpose|stride|slice|select|split|"
     r"expand|permute|contiguous|unbind|squeeze|resize|detach|alias|clone|CatArray|aten::(to|t|cat|stack)$"),
    ("sums and norms", r"aten::(sum|mean|linalg_vector_norm|max|min|all|any)$|reduce"),
    ("look-ups", r"embedding|gather|scatter|index"),
    ("element by element", r""),
)  # fmt: skip


class Span(NamedTuple):
    """A piece of a step: what ran in it, and from when to when, in seconds."""

    phase: str
    module: str
    start: float
    end: float


class Clock:
    """Cuts a step into spans that follow one another without a gap: each mark ends a span and begins the next."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.marks = device, list[tuple[str, str, float]]()

    def mark(self, phase: str, module: str) -> None:
        """What follows belongs to this phase and module. A GPU is waited for, or its work would count elsewhere."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()
        self.marks.append((phase, module, time.perf_counter()))

    def take(self) -> list[Span]:
        """The spans since the last call; the last mark only ends."""
        marks, self.marks = self.marks, []
        return [Span(*one[:2], one[2], after[2]) for one, after in zip(marks, marks[1:])]


@dataclass
class Job:
    """What is profiled."""

    model: GPT
    optimizers: Sequence[Optimizer]
    batches: Iterator[tuple[Tensor, Tensor]]

    @property
    def device(self) -> torch.device:
        return self.model.wte.weight.device

    def batch(self) -> tuple[Tensor, Tensor]:
        """The next batch. Raises ValueError where there is none."""
        if (found := next(self.batches, None)) is None:
            raise ValueError("the batches of build() came to an end: they must go on without end")
        return found

    def step(self, clock: Clock) -> None:
        """One step: lesson 2.2's `train_step` in its parts, with marks between them."""
        clock.mark("data", "data")
        part = self.batch()
        clock.mark("forward", "embedding")

        def loss(x: Tensor, y: Tensor) -> Tensor:
            value = self.model.loss(x, y)
            clock.mark("backward", HEAD)
            return value

        step.accumulate(loss, [part])
        clock.mark("optimizer", "norm, clearing")
        step.clip_by_global_norm(self.model.parameters())
        for optimizer in self.optimizers:
            clock.mark("optimizer", type(optimizer).__name__)
            optimizer.step()
        clock.mark("optimizer", "norm, clearing")
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        clock.mark("end", "end")


def load(path: Path) -> Job:
    """What `build()` of a Python file returns. Raises FileNotFoundError or ValueError, in a sentence."""
    wanted = "give a Python file with a function build(), such as examples/tiny_model.py"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: {wanted}")
    try:
        names = runpy.run_path(str(path), run_name="config")
    except SyntaxError as error:
        raise ValueError(f"{path} is no Python that can be read ({error}): {wanted}") from error
    if not callable(names.get("build")):
        raise ValueError(f"{path} has no function build(): {wanted}")
    made = names["build"]()
    if not (isinstance(made, tuple) and len(made) == 3 and isinstance(made[0], GPT)):
        raise ValueError(
            f"build() of {path} must return (model, optimizers, batches), a GPT first; got {type(made).__name__}"
        )
    return Job(made[0], made[1], iter(made[2]))


# -- measuring ------------------------------------------------------------------------------------


@contextmanager
def watch(model: GPT, clock: Clock) -> Iterator[None]:
    """Within it, the clock is marked where one module ends and the next begins, in both directions.

    In the backward pass a mark stands where the gradient of a module's output is complete: what follows is that
    module's. A norm, and an addition to the stream, count with the module that they stand before or after.
    """
    handles: list[Any] = []

    def at(tensor: Tensor, module: str) -> None:
        if tensor.requires_grad:
            tensor.register_hook(lambda _: clock.mark("backward", module))

    def before(block: Any, inputs: Any, i: int) -> None:
        clock.mark("forward", f"attention {i}")
        if i == 0:
            at(inputs[0], "embedding")

    def after_attention(attn: Any, inputs: Any, output: Tensor, i: int) -> None:
        clock.mark("forward", f"MLP {i}")
        at(output, f"attention {i}")

    def after(block: Any, inputs: Any, output: Tensor, i: int) -> None:
        if i == len(model.blocks) - 1:
            clock.mark("forward", HEAD)
        at(output, f"MLP {i}")

    for i, block in enumerate(model.blocks):
        handles += [
            block.register_forward_pre_hook(partial(before, i=i)),
            block.attn.register_forward_hook(partial(after_attention, i=i)),
            block.register_forward_hook(partial(after, i=i)),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def timed(job: Job, n: int) -> list[list[Span]]:
    """The spans of n steps."""
    clock, steps = Clock(job.device), []
    for _ in range(n):
        job.step(clock)
        steps.append(clock.take())
    return steps


def watched(job: Job, n: int, each: Callable[[], Any]) -> list[list[Span]]:
    """The spans of n steps, module by module; every step runs within `each()`."""
    clock, steps = Clock(job.device), []
    with watch(job.model, clock):
        for _ in range(n):
            with each():
                job.step(clock)
            steps.append(clock.take())
    return steps


def mean_ms(steps: Sequence[Sequence[Span]], key: Callable[[Span], Any]) -> dict[Any, float]:
    """Milliseconds of a mean step, by `key` of its spans, in the order of their first appearance."""
    total: dict[Any, float] = {}
    for span in (span for spans in steps for span in spans):
        total[key(span)] = total.get(key(span), 0.0) + 1000 * (span.end - span.start) / len(steps)
    return total


def product(job: Job, rows: int, features: int) -> float:
    """Operations a second of (rows, features) x (features, 4 features), the MLP's first product: the best of some."""
    a, b = (
        torch.ones(*shape, dtype=job.model.compute_dtype, device=job.device)
        for shape in ((rows, features), (features, 4 * features))
    )
    best = math.inf
    for _ in range(10):
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 8 * rows * features**2 / best


def bfloat16_gain(job: Job, positions: int, n: int = 5) -> float:
    """How many times as fast forward and backward are in bfloat16: medians of n steps of each dtype, in turns."""
    before, seconds = job.model.compute_dtype, {torch.float32: [0.0], torch.bfloat16: [0.0]}
    try:
        for _ in range(n + 1):
            for dtype, some in seconds.items():
                job.model.compute_dtype = dtype
                with attention_kernel(job.device, dtype, positions):
                    (spans,) = timed(job, 1)
                some.append(sum(one.end - one.start for one in spans if one.phase in ("forward", "backward")))
    finally:
        job.model.compute_dtype = before
    slow, fast = (statistics.median(some[2:]) for some in seconds.values())  # the first of each warms up
    return slow / fast


def is_weight(tensor: Tensor) -> bool:
    """Whether this is a weight in another dtype, or turned: nothing but casts and transposes lie between them."""
    node = tensor.grad_fn
    while node is not None and node.name() in ("TBackward0", "ToCopyBackward0"):
        node = node.next_functions[0][0]
    return node is not None and "AccumulateGrad" in node.name()


def memory(job: Job) -> dict[str, int]:
    """Bytes that a step holds, by what they are for: each storage that exists is counted, once."""
    weights = {w.untyped_storage().data_ptr(): w.nbytes for w in job.model.parameters()}
    kinds: dict[str, dict[int, int]] = {"activations": {}, "weights, cast": {}}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kinds["weights, cast" if is_weight(tensor) else "activations"][storage.data_ptr()] = (
                storage.nbytes()
            )
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = job.model.loss(*job.batch())
    loss.backward()
    gradients = sum(w.grad.nbytes for w in job.model.parameters() if w.grad is not None)
    for optimizer in job.optimizers:
        optimizer.step()
        optimizer.zero_grad()
    states = [value for one in job.optimizers for state in one.state.values() for value in state.values()]
    found = {name: sum(storages.values()) for name, storages in kinds.items()}
    moments = sum(one.nbytes for one in states if isinstance(one, Tensor))
    return {"weights": sum(weights.values()), "gradients": gradients, "moments": moments, **found}


def group_of(name: str) -> str:
    """The group of an operation or kernel."""
    return next(group for group, pattern in GROUPS if re.search(pattern, name))


def kernels(prof: profile, device: torch.device, n: int) -> list[dict[str, Any]]:
    """Each operation (CPU) or kernel (GPU): its own time in ms and its calls, of a mean step; the longest first.

    What is no operation, the step itself and autograd's frame around each operation, is `between operations`.
    """
    rows = []
    for one in prof.key_averages():
        on_gpu = one.device_type != DeviceType.CPU
        if on_gpu != (device.type == "cuda") or (on_gpu and one.is_user_annotation):
            continue
        own = one.self_device_time_total if on_gpu else one.self_cpu_time_total
        group = group_of(one.key) if on_gpu or one.key.startswith("aten::") else BETWEEN
        rows.append({"name": one.key, "group": group, "ms": own / 1000 / n, "calls": one.count / n})
    return sorted(rows, key=lambda row: -row["ms"])


def lanes(prof: profile, device: torch.device, root: Any) -> dict[str, list[tuple[float, float]]]:
    """Group -> (start, length) in ms of the times that were its own, within the profiled step `root`."""
    begin, end = root.time_range.start, root.time_range.end
    found: dict[str, list[tuple[float, float]]] = {}
    for one in prof.events():
        on_gpu = one.device_type != DeviceType.CPU
        if on_gpu != (device.type == "cuda") or (on_gpu and one.is_user_annotation):
            continue
        if not begin <= one.time_range.start <= end or (not on_gpu and one.thread != root.thread):
            continue
        group = group_of(one.name) if on_gpu or one.name.startswith("aten::") else BETWEEN
        at = one.time_range.start
        within = sorted((child.time_range.start, child.time_range.end) for child in one.cpu_children)
        for until, after in [*within, (one.time_range.end, 0)]:
            if until > at:
                found.setdefault(group, []).append(((at - begin) / 1000, (until - at) / 1000))
            at = after
    return found


def roots(prof: profile) -> list[Any]:
    """The profiled steps, as events, in order."""
    found = [one for one in prof.events() if one.name == STEP and one.device_type == DeviceType.CPU]
    return sorted(found, key=lambda one: one.time_range.start)


def attention_share(prof: profile, device: torch.device, forward_ms: float) -> float:
    """The share of all forward passes, which took so long together, that went to comparing positions."""
    for one in prof.key_averages():
        if one.key == "aten::scaled_dot_product_attention":
            total = one.device_time_total if device.type == "cuda" else one.cpu_time_total
            return float(total / 1000 / forward_ms)
    return 0.0


def export(prof: profile, steps: Sequence[Sequence[Span]], path: Path) -> tuple[int, str]:
    """Writes the Chrome trace, with our phases and modules as rows of their own.

    Returns by how many bytes tensors in a CPU's memory grew at most within a step, and in which phase that was.
    """
    prof.export_chrome_trace(str(path))
    trace = json.loads(path.read_text(encoding="utf-8"))
    events = trace["traceEvents"]
    begins = sorted(
        one["ts"] for one in events if one.get("name") == STEP and one.get("cat") == "user_annotation"
    )
    sizes = sorted(
        (one["ts"], one["args"]["Total Allocated"])
        for one in events
        if one.get("name") == "[memory]" and one["args"]["Device Type"] == 0
    )
    rows, peak = [], (0, "")
    for row, name in enumerate(("phases", "modules")):
        meta = {"name": "thread_name", "args": {"name": name}}
        rows.append({"ph": "M", "pid": "mini_nanochat", "tid": row, "ts": 0, **meta})
    for spans, begin in zip(steps, begins):
        before = max([(0.0, 0), *(one for one in sizes if one[0] < begin)])[1]
        for span in spans:
            start, end = (begin + 1e6 * (t - spans[0].start) for t in (span.start, span.end))
            place = {"ph": "X", "pid": "mini_nanochat", "ts": start, "dur": end - start}
            rows += [
                {**place, "tid": row, "name": name} for row, name in enumerate((span.phase, span.module))
            ]
            peak = max([peak, *((size - before, span.phase) for ts, size in sizes if start <= ts <= end)])
    path.write_text(json.dumps({**trace, "traceEvents": events + rows}), encoding="utf-8")
    return peak
