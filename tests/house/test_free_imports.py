"""Importing is free: it loads nothing heavy, and touches no disk, network, process, thread or logger.

Modules are imported one by one under an audit hook that notes what happens, and all of ours are forgotten before the
next. Those that may load the same libraries share an interpreter: its start is what costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mini_nanochat.course.manifest import ROOT

HEAVY = {"torch", "matplotlib", "pytest", "IPython", "hypothesis", "pyarrow"}
# The few that load something heavy by their nature.
ALLOWED = {
    "mini_nanochat.course.attention": {"matplotlib", "matplotlib.figure", "torch"},
    "mini_nanochat.course.heads": {"torch"},
    "mini_nanochat.course.plugin": {"pytest"},
    "mini_nanochat.course.visualizer": {"matplotlib", "matplotlib.figure", "torch"},
    "mini_nanochat.data.download": {"pyarrow"},
    "mini_nanochat.data.loader": {"pyarrow", "torch"},
    "mini_nanochat.data.shards": {"pyarrow"},
    "mini_nanochat.microworld.write": {"pyarrow"},
    "mini_nanochat.model.attention": {"torch"},
    "mini_nanochat.model.block": {"torch"},
    "mini_nanochat.model.files": {"torch"},
    "mini_nanochat.model.gpt": {"torch"},
    "mini_nanochat.model.head": {"torch"},
    "mini_nanochat.model.layers": {"torch"},
    "mini_nanochat.model.rotary": {"torch"},
    "mini_nanochat.optim.adamw": {"torch"},
    "mini_nanochat.optim.muon": {"torch"},
    "mini_nanochat.optim.precision": {"torch"},
    "mini_nanochat.scripts.batches": {"pyarrow", "torch"},
    "mini_nanochat.scripts.data": {"pyarrow"},
    "mini_nanochat.scripts.microworld": {"pyarrow"},
    "mini_nanochat.scripts.model": {"pyarrow", "torch"},
    "mini_nanochat.scripts.tok_train": {"pyarrow"},
    "mini_nanochat.train.checkpoint": {"torch"},
    "mini_nanochat.train.run": {"pyarrow", "torch"},
    "mini_nanochat.runtime": {"torch"},
    "mini_nanochat.microworld.core": {"torch"},
    "mini_nanochat.scripts.base_eval": {"pyarrow", "torch"},
    "mini_nanochat.scripts.tok_eval": {"pyarrow"},
    "mini_nanochat.scripts.base_train": {"pyarrow", "torch"},
    "mini_nanochat.train.objective": {"torch"},
    "mini_nanochat.train.schedule": {"torch"},
    "mini_nanochat.train.step": {"torch"},
}
MODULES = sorted(
    path.relative_to(ROOT).as_posix().removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for path in (ROOT / "mini_nanochat").rglob("*.py")
)

WATCH = """
import contextlib, importlib, io, json, logging, os, sys, threading
names, root, heavy, allowed = sys.argv[1].split(), sys.argv[2], sys.argv[3].split(), sys.argv[4].split()
for one in allowed:  # what these do themselves (torch starts a process) is not ours
    importlib.import_module(one)
deeds, found = [], {}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def hook(event, args):
    if event == "open":
        path, mode, flags = args
        if set(mode or "") & set("wax+") or (flags or 0) & WRITES:
            deeds.append(f"writes {path}")
        elif str(path).startswith(root) and "site-packages" not in str(path):
            if not str(path).endswith((".py", ".pyc")):
                deeds.append(f"reads {path}")
    elif event.startswith(("socket.", "subprocess.", "os.mkdir", "os.remove", "os.rename", "os.system")):
        deeds.append(event)
sys.addaudithook(hook)
for name in names:
    for one in [one for one in sys.modules if one.partition(".")[0] == "mini_nanochat"]:
        del sys.modules[one]
    deeds.clear()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        importlib.import_module(name)
    deeds += [f"prints {line}" for line in printed.getvalue().splitlines()]
    deeds += [f"loads {one}" for one in heavy if one in sys.modules and one not in allowed]
    deeds += ["sets up logging"] if logging.root.handlers else []
    deeds += ["starts a thread"] if threading.active_count() > 1 else []
    found[name] = list(deeds)
print(json.dumps(found))
"""


def deeds(names, folder=ROOT, allowed=()):
    """Module -> what importing it, found in `folder` or in ours, does beyond defining.

    The `allowed` modules of others are loaded before.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("MINI_NANOCHAT")}
    env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(folder), str(ROOT)]))
    command = [sys.executable, "-B", "-c", WATCH, " ".join(names), str(folder), " ".join(sorted(HEAVY))]
    command.append(" ".join(sorted(allowed)))
    done = subprocess.run(
        command, env=env, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("allowed", sorted({" ".join(sorted(ALLOWED.get(name, ()))) for name in MODULES}))
def test_importing_a_module_only_defines(allowed):
    names = [name for name in MODULES if " ".join(sorted(ALLOWED.get(name, ()))) == allowed]
    assert deeds(names, allowed=allowed.split()) == {name: [] for name in names}


# -- the watch sees what it should ----------------------------------------------------------------


@pytest.mark.parametrize(
    "source, deed",
    [
        ("print('hello')", "prints hello"),
        ("open('note.txt', 'w')", "writes note.txt"),
        ("import os; os.open('note.bin', os.O_CREAT | os.O_WRONLY)", "writes note.bin"),
        ("import os; os.mkdir('made')", "os.mkdir"),
        ("from pathlib import Path; DATA = Path(__file__).with_name('data.toml').read_text()", "reads "),
        ("import subprocess, sys; subprocess.run([sys.executable, '-c', ''])", "subprocess.Popen"),
        ("import socket; S = socket.socket()", "socket."),
        ("import logging; logging.basicConfig()", "sets up logging"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(0.5,)).start()",
            "starts a thread",
        ),
        ("import pytest", "loads pytest"),
        ("import mini_nanochat.course.plugin", "loads pytest"),
    ],
)
def test_a_module_that_wakes_up_is_noticed(tmp_path, source, deed):
    (tmp_path / "data.toml").write_text("x = 1\n")
    (tmp_path / "planted.py").write_text(source + "\n")
    assert any(one.startswith(deed) for one in deeds(["planted"], tmp_path)["planted"])


def test_a_quiet_module_is_left_alone(tmp_path):
    (tmp_path / "planted.py").write_text("import json\nX = len('abc')\n\ndef f():\n    open('never', 'w')\n")
    assert deeds(["planted"], tmp_path) == {"planted": []}
