"""profile_training: parts add up, bytes are right, advice follows from figures, and all files are there."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time

import pytest
import torch

from mini_nanochat.course.manifest import ROOT
from mini_nanochat.course.progress import code_lines
from mini_nanochat.model.gpt import count_parameters
from mini_nanochat.train import step

TOOL = ROOT / "tools/profiler/profile_training.py"
CONFIG = """
import time, torch
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.optim import muon

SLOW = {slow}

def batches():
    while True:
        time.sleep(SLOW)
        ids = torch.randint(0, 64, (4, 33))
        yield ids[:, :-1], ids[:, 1:]

def build():
    model = GPT(GPTConfig(32, 64, 2, 2, 2, 32))
    model.init(0)
    return model, muon.optimizers(model, 32), batches()
"""


@pytest.fixture(scope="module")
def tool():
    """The tool as a module, with its neighbours beside it."""
    sys.path.insert(0, str(TOOL.parent))
    try:
        yield importlib.import_module("profile_training")
    finally:
        sys.path.remove(str(TOOL.parent))


@pytest.fixture
def job(tool, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(CONFIG.format(slow=0))
    return tool.measuring.load(path)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The tool, run as a learner runs it, on a loader that is slow on purpose."""
    folder = tmp_path_factory.mktemp("profile")
    (folder / "config.py").write_text(CONFIG.format(slow=0.02))
    command = [sys.executable, str(TOOL), "--config", "config.py", "--steps", "8"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran, folder / "runs" / "profile"


@pytest.fixture(scope="module")
def facts(done):
    return json.loads((done[1] / "profile.json").read_text("utf-8"))


def test_all_files_are_written(done):
    ran, out = done
    assert (out / "timeline.png").read_bytes().startswith(b"\x89PNG")
    width = int.from_bytes((out / "timeline.png").read_bytes()[16:20], "big")
    assert width == 1200
    assert "Perfetto".lower() in ran.stdout.lower() and "What to try next" in ran.stdout
    assert ran.stderr == ""  # torch.profiler's own log is not for learners


def test_the_json_has_its_fields(facts):
    wanted = {"config", "advice", "device", "dtype", "shape", "batch", "steps", "tokens_per_second", "mfu"}
    wanted |= {
        "ceiling",
        "step_ms",
        "phases_ms",
        "modules_ms",
        "groups_ms",
        "kernels",
        "memory",
        "planned_memory",
    }
    assert wanted <= facts.keys()
    assert facts["batch"] == [4, 32] and facts["steps"]["plain"] == 8
    assert facts["tokens_per_second"] == pytest.approx(128 / (facts["step_ms"] / 1000))


def test_phases_add_up_to_the_step(facts):
    assert list(facts["phases_ms"]) == ["data", "forward", "backward", "optimizer"]
    assert sum(facts["phases_ms"].values()) == pytest.approx(facts["step_ms"], rel=0.01)
    assert facts["phases_ms"]["data"] >= 20


def test_modules_and_operations_add_up_too(facts):
    modules = facts["modules_ms"]
    inner = ["attention 0", "MLP 0", "attention 1", "MLP 1", "head and loss"]
    assert [name for name in modules if "forward" in modules[name]] == ["embedding", *inner]
    assert all(modules[name]["backward"] > 0 for name in ["embedding", *inner])
    assert {"AdamW", "Muon"} <= modules.keys()
    total = sum(ms for one in modules.values() for ms in one.values())
    assert total == pytest.approx(facts["watched_step_ms"], rel=0.01)
    assert sum(facts["groups_ms"].values()) == pytest.approx(facts["profiled_step_ms"], rel=0.1)
    assert facts["groups_ms"]["matrix products"] > 0


def test_a_slow_loader_is_named(done, facts):
    assert facts["advice"][0].startswith("Data loading takes")
    assert "Data loading takes" in done[0].stdout


def test_the_trace_holds_our_rows(done):
    events = json.loads((done[1] / "trace.json").read_text("utf-8"))["traceEvents"]
    ours = [one for one in events if one.get("pid") == "mini_nanochat" and one["ph"] == "X"]
    steps = [
        one for one in events if one.get("name") == "profiled step" and one.get("cat") == "user_annotation"
    ]
    assert {"data", "forward", "backward", "optimizer", "attention 1"} <= {one["name"] for one in ours}
    assert len(steps) == 3
    for one in ours:  # within a step, but for the rounding of two clocks
        assert any(
            s["ts"] - 500 <= one["ts"] and one["ts"] + one["dur"] <= s["ts"] + s["dur"] + 500 for s in steps
        )


def test_bytes_are_exact(job, tool):
    job.step(tool.measuring.Clock(job.device))
    held = tool.measuring.memory(job)
    count = count_parameters(job.model.config)
    assert held["weights"] == held["gradients"] == 4 * count["total"]
    two = count["embedding"] + count["head"]  # AdamW keeps two numbers for each weight, Muon one
    assert held["moments"] == 4 * (count["total"] + two)
    assert held["weights, cast"] == 0  # float32: the weights themselves are used


def test_activations_grow_with_the_batch_and_casts_do_not(job, tool):
    job.model.compute_dtype = torch.bfloat16
    small = tool.measuring.memory(job)
    more = (torch.cat([one] * 3) for one in job.batch())
    job.batches = iter([tuple(more)])
    large = tool.measuring.memory(job)
    count = count_parameters(job.model.config)
    assert small["weights, cast"] == large["weights, cast"] == 2 * (count["attention"] + count["mlp"])
    assert 2 < large["activations"] / small["activations"] < 3.01


def test_a_step_here_is_a_step_of_training(tool, tmp_path):
    """The same weights come out as from train_step, marks or no marks."""
    path = tmp_path / "config.py"
    path.write_text(CONFIG.format(slow=0))
    weights = []
    for way in ("plain", "watched", "train_step"):
        torch.manual_seed(3)
        one = tool.measuring.load(path)
        clock = tool.measuring.Clock(one.device)
        for _ in range(3):
            if way == "train_step":
                step.train_step(one.model.loss, [one.batch()], one.optimizers)
            elif way == "plain":
                one.step(clock)
            else:
                with tool.measuring.watch(one.model, clock):
                    one.step(clock)
        weights.append(torch.cat([w.detach().flatten() for w in one.model.parameters()]))
    assert torch.equal(weights[0], weights[2]) and torch.equal(weights[1], weights[2])


def test_time_in_a_module_is_counted_there(job, tool):
    """A sleep in the first MLP, and one in its backward pass, show up in no other module."""
    job.step(tool.measuring.Clock(job.device))

    def slow(module, inputs, output):
        time.sleep(0.1)
        output.register_hook(lambda _: time.sleep(0.1))

    job.model.blocks[0].mlp.register_forward_hook(slow)
    steps = tool.measuring.watched(job, 4, tool.nullcontext)
    least = {}  # of the steps: what another program adds, it does not add to every step
    for one in (one for spans in steps for one in spans):
        key = (one.phase, one.module)
        least[key] = min(least.get(key, 9.0), one.end - one.start)
    assert [key for key, seconds in least.items() if seconds >= 0.1] == [
        ("forward", "MLP 0"),
        ("backward", "MLP 0"),
    ]


QUIET = {
    "step_ms": 100.0,
    "phases_ms": {"data": 1.0, "forward": 39.0, "backward": 50.0, "optimizer": 10.0},
    "batch": [4, 1024],
    "shape": {"n_embd": 64},
    "dtype": "float32",
    "bfloat16": None,
    "mfu": 0.6,
    "products": {"own": 0.3, "rows": 0.31, "wide": 0.6},
    "groups_ms": {"matrix products": 50.0, "element by element": 40.0, "between operations": 10.0},
    "profiled_step_ms": 100.0,
    "attention": 0.1,
}


@pytest.mark.parametrize(
    "change, says",
    [
        ({}, "Nothing stands out"),
        ({"phases_ms": {**QUIET["phases_ms"], "data": 6.0}}, "Data loading takes 6%"),
        ({"phases_ms": {**QUIET["phases_ms"], "optimizer": 16.0}}, "A larger batch pays"),
        ({"bfloat16": 1.8}, "1.8 times as fast"),
        ({"bfloat16": 1.05}, "Nothing stands out"),
        ({"mfu": 0.1}, "it would reach 60% with twice the features"),
        ({"mfu": 0.1, "products": {"own": 1.2, "rows": 1, "wide": 1}}, "`element by element` takes 40%"),
        ({"groups_ms": {"between operations": 30.0}}, "torch.compile"),
        ({"attention": 0.4}, "Comparing positions takes 40%"),
        ({"attention": 0.4, "batch": [16, 256]}, "Nothing stands out"),
    ],
)
def test_advice_follows_from_the_figures(tool, change, says):
    (said,) = tool.advice({**QUIET, **change})
    assert says in said


@pytest.mark.parametrize(
    "name, group",
    [
        ("aten::mm", "matrix products"),
        ("aten::addmm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention kernels"),
        ("aten::t", "copies, casts, views"),
        ("aten::tanh", "element by element"),
        ("aten::mul", "element by element"),
        ("aten::sum", "sums and norms"),
        ("aten::clamp_min", "element by element"),
        ("aten::embedding_dense_backward", "look-ups"),
        ("nvjet_sm90_tst_128x256_64x4_TNT", "matrix products"),
        ("void at::native::unrolled_elementwise_kernel<direct_copy_kernel_cuda>", "copies, casts, views"),
        ("void at::native::vectorized_elementwise_kernel<4, MulFunctor<float>>", "element by element"),
        ("Memcpy HtoD (Pinned -> Device)", "copies, casts, views"),
    ],
)
def test_names_find_their_group(tool, name, group):
    assert tool.measuring.group_of(name) == group


@pytest.mark.parametrize(
    "text, sentence",
    [
        (None, "is not there: give a Python file with a function build()"),
        ("x = 1", "has no function build()"),
        ("def build(:", "is no Python that can be read"),
        ("def build(): return 3", "must return (model, optimizers, batches), a GPT first; got int"),
        (CONFIG.format(slow=0).replace("while True:", "if False:"), "came to an end"),
    ],
)
def test_a_wrong_config_is_answered_in_a_sentence(tool, tmp_path, monkeypatch, capsys, text, sentence):
    monkeypatch.chdir(tmp_path)
    if text:
        (tmp_path / "mine.py").write_text(text)
    assert tool.flags.run(tool.Config, tool.main, ["--config", "mine.py"], prog="profile_training") == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and not said.out


def test_the_tool_is_short():
    for path in TOOL.parent.glob("*.py"):
        assert code_lines(path.read_text("utf-8")) <= 300, path
