"""The examples: short, and they do what they say, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from mini_nanochat.course.manifest import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name, folder, tool=None, *flags):
    """What the example prints; or the tool, if it is given this example."""
    command = [sys.executable, *([str(ROOT / tool), *flags] if tool else []), str(ROOT / "examples" / name)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=900, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def numbers(pattern, text):
    return [float(one) for one in re.findall(pattern, text)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_read_in_one_go(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 60
    assert (
        "argparse" not in text and "sys.argv" not in text
    )  # no options: the file itself is what one changes
    assert not re.search(r"mini_nanochat\.(course|scripts)|import _|\._[a-z]", text)  # public API only


@pytest.mark.slow
def test_tiny_model_learns(tmp_path):
    losses = numbers(r"loss ([0-9.]+) nats", run("tiny_model.py", tmp_path))
    assert losses[0] > 6 and losses[-1] < 2.5
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.slow
def test_tiny_model_can_be_profiled(tmp_path):
    said = run("tiny_model.py", tmp_path, "tools/profiler/profile_training.py", "--steps", "4", "--config")
    assert "What to try next" in said and "attention 1" in said
    assert (tmp_path / "runs/profile/timeline.png").is_file()


@pytest.mark.slow
def test_front_door_ends_with_sentences(tmp_path):
    said = run("front_door.py", tmp_path)
    losses = numbers(r"loss ([0-9.]+) nats", said)
    assert losses[0] > 6.5 and losses[-1] < 1.6
    sentences = said.split("a token at a time:\n")[1].splitlines()[:3]
    assert all(len(one.split()) > 3 for one in sentences)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_one_page_is_learned_down_to_the_floor_and_not_below(tmp_path):
    said = run("overfit_one_page.py", tmp_path)
    above = numbers(r"which is (-?[0-9.]+) above the floor", said)
    assert above[0] > 4 and 0 <= above[-1] < 0.005
    assert "= 0.0433 nats" in said and "100% of the tokens" in said
