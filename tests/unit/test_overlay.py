"""overlay: a workspace stands in for the library, in every kind of process, and never by halves.

Each test starts fresh interpreters, because an overlay changes how an interpreter imports.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mini_nanochat

ROOT = Path(mini_nanochat.__file__).parents[1]
BPE = "mini_nanochat.tokenizer.bpe"
WHOSE = f"import {BPE} as m; print(getattr(m, 'NAME', 'reference'))"


def write_module(folder, name="mine", path="mini_nanochat/tokenizer/bpe.py"):
    """A stand-in for a module, which knows its own name."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"NAME = {name!r}\n", "utf-8")
    return file


@pytest.fixture
def workspace(tmp_path):
    write_module(tmp_path / "workspace")
    return tmp_path / "workspace"


def python(*arguments, workspace=None, cwd=None):
    """Runs an interpreter (with an overlay, if `workspace` is given); returns the finished process."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MINI_NANOCHAT", "PYTHON"))}
    env["PYTHONPATH"] = str(ROOT)
    if workspace is not None:
        env["MINI_NANOCHAT_WORKSPACE"] = str(workspace)
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)


def says(*arguments, **options):
    """The lines that an interpreter prints; its failure is ours."""
    done = python(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_the_workspace_stands_in_for_one_module_and_the_rest_is_ours(workspace):
    code = f"{WHOSE}; from mini_nanochat.tokenizer import text; print(text.__file__)"
    mine, text = says("-c", code, workspace=workspace)
    assert mine == "mine"
    assert Path(text) == ROOT / "mini_nanochat" / "tokenizer" / "text.py"
    assert says("-c", WHOSE) == ["reference"]


def test_our_own_modules_get_the_learners_too(workspace):
    write_module(workspace, path="mini_nanochat/tokenizer/text.py")
    (workspace / "mini_nanochat/tokenizer/bpe.py").unlink()
    error = python("-c", f"import {BPE}", workspace=workspace).stderr
    assert "cannot import name 'SPECIAL_TOKENS'" in error, "bpe.py (ours) asks text.py (theirs) for names"


@pytest.mark.parametrize("form", ["import a.b", "from a import b", "from a.b import NAME", "import_module"])
def test_every_form_of_import_finds_the_learners_module(workspace, form):
    code = {
        "import a.b": f"import {BPE}; print(mini_nanochat.tokenizer.bpe.NAME)",
        "from a import b": "from mini_nanochat.tokenizer import bpe; print(bpe.NAME)",
        "from a.b import NAME": f"from {BPE} import NAME; print(NAME)",
        "import_module": f"import importlib; print(importlib.import_module({BPE!r}).NAME)",
    }[form]
    assert says("-c", code, workspace=workspace) == ["mine"]


def test_another_current_folder_changes_nothing(workspace, tmp_path):
    assert says("-c", WHOSE, workspace=workspace, cwd=tmp_path) == ["mine"]


def test_a_relative_path_means_the_folder_where_it_was_said(workspace, tmp_path):
    code = (
        f"import os, subprocess, sys, mini_nanochat; os.chdir('/'); {WHOSE};"
        f"print(subprocess.check_output([sys.executable, '-c', {WHOSE!r}], text=True).strip())"
    )
    assert says("-c", code, workspace="workspace", cwd=tmp_path) == ["mine", "mine"]


def test_child_processes_inherit_it(workspace, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, subprocess, sys\n"
        "def whose(_):\n"
        f"    import {BPE} as m\n"
        "    return getattr(m, 'NAME', 'reference')\n"
        "if __name__ == '__main__':\n"
        "    from mini_nanochat import overlay\n"
        "    overlay.install(sys.argv[1])\n"
        f"    print(subprocess.check_output([sys.executable, '-c', {WHOSE!r}], text=True).strip())\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        print(*pool.map(whose, range(2)))\n"
    )
    assert says(script, workspace) == ["mine", "mine mine"]


@pytest.mark.slow
def test_processes_of_torchrun_inherit_it(workspace, tmp_path):
    pytest.importorskip("torch")
    script = tmp_path / "script.py"
    script.write_text(WHOSE + "\n")
    arguments = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script)
    assert says(*arguments, workspace=workspace, cwd=tmp_path) == ["mine", "mine"]


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_a_missing_workspace_is_an_error_and_never_the_reference(tmp_path, kind):
    place = tmp_path / "place"
    if kind == "empty":
        place.mkdir()
    elif kind == "file":
        place.write_text("")
    done = python("-c", WHOSE, workspace=place)
    assert done.returncode != 0 and done.stdout == ""
    assert f"{place}, which is not a workspace" in done.stderr


def test_a_refused_install_leaves_the_current_overlay_as_it_was(workspace, tmp_path):
    code = f"""
from mini_nanochat import overlay
overlay.install({str(workspace)!r})
try:
    overlay.install({str(tmp_path / "nothing")!r})
except FileNotFoundError:
    print(overlay.active())
{WHOSE}
"""
    assert says("-c", code) == [str(workspace), "mine"]


@pytest.mark.parametrize("name", ["course/manifest", "scripts/microworld", "overlay", "corpus", "__init__"])
def test_grader_programs_and_house_modules_cannot_be_replaced(workspace, name):
    write_module(workspace, path=f"mini_nanochat/{name}.py")
    dotted = f"mini_nanochat/{name}".replace("/", ".").removesuffix(".__init__")
    code = f"import importlib; print(importlib.import_module({dotted!r}).__file__)"
    assert says("-c", code, workspace=workspace) == [str(ROOT / "mini_nanochat" / f"{name}.py")]


def test_remove_brings_the_reference_back(workspace):
    code = f"""
import os
from mini_nanochat import overlay
{WHOSE}
overlay.install({str(workspace)!r})
{WHOSE}
print(overlay.active())
overlay.remove()
{WHOSE}
print(overlay.active(), os.environ.get(overlay.VARIABLE))
"""
    assert says("-c", code) == ["reference", "mine", str(workspace), "reference", "None None"]


def test_one_workspace_after_the_other(workspace, tmp_path):
    write_module(tmp_path / "second", "second")
    code = f"""
from mini_nanochat import overlay
overlay.install({str(workspace)!r})
{WHOSE}
overlay.install({str(tmp_path / "second")!r})
{WHOSE}
from mini_nanochat import tokenizer
print(tokenizer.bpe.NAME)
"""
    assert says("-c", code) == ["mine", "second", "second"]


def test_the_package_itself_is_forgotten_too(workspace):
    code = f"""
from mini_nanochat import overlay, tokenizer
overlay.install({str(workspace)!r})
from mini_nanochat import tokenizer
print(tokenizer.__path__[0])
"""
    assert says("-c", code) == [str(workspace / "mini_nanochat" / "tokenizer")]


def test_an_edit_within_the_same_second_counts(workspace):
    file = workspace / "mini_nanochat" / "tokenizer" / "bpe.py"
    for name in ("one", "two", "six"):  # the same length, and below the same time
        write_module(workspace, name)
        os.utime(file, (1_700_000_000, 1_700_000_000))
        assert says("-c", WHOSE, workspace=workspace) == [name]
    assert not list(workspace.rglob("*.pyc")), "no byte code is left behind, so none can be stale"


def test_an_edit_counts_within_one_process(workspace):
    code = f"""
from pathlib import Path
from mini_nanochat import overlay
for name in ("one", "two", "six"):
    Path({str(workspace)!r}, "mini_nanochat/tokenizer/bpe.py").write_text(f"NAME = {{name!r}}")
    overlay.install({str(workspace)!r})
    {WHOSE}
"""
    assert says("-c", code) == ["one", "two", "six"]


def test_a_module_that_has_just_appeared_counts(workspace):
    code = f"""
import os
from pathlib import Path
from mini_nanochat import overlay
file = Path({str(workspace)!r}, "mini_nanochat/tokenizer/bpe.py")
text = file.read_text()
for appear in (False, True):
    file.write_text(text) if appear else file.unlink()
    os.utime(file.parent, (1_700_000_000, 1_700_000_000))  # a clock too coarse to tell
    overlay.install({str(workspace)!r})
    {WHOSE}
"""
    assert says("-c", code) == ["reference", "mine"]
