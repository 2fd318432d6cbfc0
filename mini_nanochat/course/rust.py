"""Write the trainer in Rust too: a copy of rustbpe/ in your workspace, the fenced bodies taken out.

    mini-nanochat rust                  puts the crate there, or tests what you have written (cargo test)
    mini-nanochat rust merge_word train     takes out these bodies alone, when the crate is put there

The crate's own tests are the graders. Nothing that lies in workspace/rustbpe is ever written over.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT
from mini_nanochat.course.workspace import Workspace

# // [lesson 0.3] begin NAME ... // end, with the indentation of both lines
FENCE = re.compile(
    r"^(?P<indent> *)// \[lesson (?P<lesson>[\d.]+)\] begin (?P<name>\w+)\n(?P<body>.*?)^(?P=indent)// end\n",
    re.MULTILINE | re.DOTALL,
)
CRATE = ("Cargo.toml", "Cargo.lock", "pyproject.toml", "README.md", "src", "tests")


def bodies(crate: Path) -> dict[str, str]:
    """Name -> what stands between the fences, over all files of src/, in the order of reading."""
    order = ("split", "count", "train", "encode", "python", "lib")
    sources = (crate / "src" / f"{name}.rs" for name in order)
    return {
        fence["name"]: fence["body"]
        for path in sources
        if path.is_file()
        for fence in FENCE.finditer(path.read_text("utf-8"))
    }


def cut(source: str, names: Iterable[str]) -> str:
    """`source` with the fenced bodies of `names` replaced by a todo!() that says what is missing."""
    names = set(names)

    def replace(fence: re.Match[str]) -> str:
        if fence["name"] not in names:
            return fence[0]
        indent, name, lesson = fence["indent"], fence["name"], fence["lesson"]
        todo = f'{indent}todo!("lesson {lesson}: {name}")\n'
        return f"{indent}// [lesson {lesson}] begin {name}\n{todo}{indent}// end\n"

    return FENCE.sub(replace, source)


def start(space: Workspace, names: Iterable[str] = ()) -> list[str]:
    """Puts the crate into the workspace, without the bodies of `names` (none named: of all); returns those.

    Raises CourseError for a name that no fence has, and if something lies there already.
    """
    ours, target = ROOT / "rustbpe", space.path / "rustbpe"
    known = list(bodies(ours))
    names = list(names) or known
    if unknown := [name for name in names if name not in known]:
        raise CourseError(f"no body in rustbpe/src is called {unknown[0]}. There are: {', '.join(known)}.")
    if target.exists():
        raise CourseError(
            f"{target} exists and is left as it is. For fresh bodies rename it, then run this again."
        )
    aside = target.with_name(".rustbpe.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for name in CRATE:
        if (ours / name).is_dir():
            shutil.copytree(ours / name, aside / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ours / name, aside / name)
    for path in (aside / "src").glob("*.rs"):
        path.write_bytes(cut(path.read_text("utf-8"), names).encode())
    (aside / ".gitignore").write_text("target/\n", "utf-8")
    aside.rename(target)
    space.snapshot("start rustbpe")
    return names


def test(space: Workspace) -> int:
    """Runs the crate's tests on the learner's code, says which bodies are written, returns cargo's code."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise CourseError("cargo is not installed: get it from https://rustup.rs, then run this again.")
    crate = space.path / "rustbpe"
    found = bodies(crate)
    quiet = {**os.environ, "RUSTFLAGS": "-Aunused"}  # what is not written yet leaves much unused
    command = [cargo, "test", "--release", "--quiet", "--no-fail-fast"]
    code = subprocess.run(command, cwd=crate, env=quiet, check=False).returncode
    print()
    for name in bodies(ROOT / "rustbpe"):
        if name not in found:
            state = "its fence is gone: keep the lines with begin and end"
        else:
            state = "not written yet" if "todo!(" in found[name] else "written"
        print(f"  {name:16} {state}")
    if code == 0:
        print("\nAll tests pass. To train with your own code: pip install ./workspace/rustbpe")
    space.snapshot("rust")
    return code


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="mini-nanochat rust", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="take out these bodies alone; all, if none")
    parser.add_argument("--workspace", metavar="FOLDER", help="your workspace, where it is not the usual one")
    options = parser.parse_args(arguments)
    try:
        space = Workspace.create(options.workspace)
        if (space.path / "rustbpe").exists() and not options.names:
            return 1 if test(space) else 0
        taken = start(space, options.names)
    except CourseError as error:
        print(f"mini-nanochat: {error}", file=sys.stderr)
        return 2
    print(f"The crate is in {space.path / 'rustbpe'}, these bodies are yours: {', '.join(taken)}.")
    print("They stand between `begin` and `end` in src/*.rs. Read its README.md first (a little Rust).")
    print("Run `mini-nanochat rust` again to test what you have written.")
    return 0
