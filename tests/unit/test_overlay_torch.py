"""A learner's attention works inside our GPT, in every kind of process that training starts.

Theirs adds 7 to what it gives. A fresh block of ours adds nothing, so the 7 can be read off its output.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mini_nanochat.course.manifest import ROOT

MODULE = "mini_nanochat/model/attention.py"
SCRIPT = """
import sys

import torch
from torch.utils.data import DataLoader, Dataset

from mini_nanochat.model.gpt import GPT, GPTConfig

def added(i=0):
    model = GPT(GPTConfig(16, 32, 2, 2, 2, 16))
    model.init(i)
    x = torch.randn(1, 3, 16)
    return (model.blocks[1](x, lambda q: q) - x).mean().item()

class Added(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return added(i)

def worker(rank):
    print(f"{added(rank):.3f}\\n", end="", flush=True)

if __name__ == "__main__":
    way = sys.argv[1]
    if way == "here":
        worker(0)
    elif way == "loader":
        for batch in DataLoader(Added(), num_workers=1, multiprocessing_context="spawn"):
            print(f"{batch.item():.3f}")
    elif way == "spawn":
        torch.multiprocessing.spawn(worker, nprocs=2)
    elif way == "torchrun":
        torch.distributed.init_process_group("gloo")
        total = torch.tensor(added(torch.distributed.get_rank()))
        torch.distributed.all_reduce(total)
        print(f"{total.item() / 2:.3f}\\n", end="", flush=True)
        torch.distributed.destroy_process_group()
"""
TORCHRUN = (
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--local-addr",
    "127.0.0.1",
    "--nproc-per-node",
    "2",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A script, and a workspace whose attention adds 7."""
    made = tmp_path_factory.mktemp("mine")
    (made / "script.py").write_text(SCRIPT, "utf-8")
    module = made / "workspace" / MODULE
    module.parent.mkdir(parents=True)
    source = (ROOT / MODULE).read_text("utf-8")
    assert source.count("        return y\n") == 1
    module.write_text(source.replace("        return y\n", "        return y + 7.0\n"), "utf-8")
    return made


def run(folder, way, mine=True):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MINI_NANOCHAT", "PYTHON"))}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if mine:
        env["MINI_NANOCHAT_WORKSPACE"] = str(folder / "workspace")
    command = [sys.executable, *(TORCHRUN if way == "torchrun" else ()), str(folder / "script.py"), way]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_without_a_workspace_a_fresh_block_adds_nothing(folder):
    assert run(folder, "here", mine=False) == ["0.000"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "way, processes", [("here", 1), ("loader", 2), ("spawn", 2), ("torchrun", 2)], ids=str
)
def test_a_learners_attention_works_inside_our_gpt(folder, way, processes):
    assert run(folder, way) == ["7.000"] * processes
