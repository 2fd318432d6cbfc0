"""The learner's copy of the Rust crate: fences, what is cut out of them, and what is never written over."""

import os
import shutil
import subprocess

import pytest

from mini_nanochat.course import rust
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT
from mini_nanochat.course.workspace import Workspace

SOURCE = """fn double(x: u32) -> u32 {
    // [lesson 0.3] begin double
    let y = x + x;
    y
    // end
}
fn half(x: u32) -> u32 {
    // [lesson 0.3] begin half
    x / 2
    // end
}
"""


@pytest.fixture
def space(tmp_path):
    return Workspace.create(tmp_path / "workspace")


def test_a_body_becomes_a_todo_that_names_itself():
    assert rust.cut(SOURCE, ["double", "half"]) == (
        "fn double(x: u32) -> u32 {\n"
        "    // [lesson 0.3] begin double\n"
        '    todo!("lesson 0.3: double")\n'
        "    // end\n"
        "}\n"
        "fn half(x: u32) -> u32 {\n"
        "    // [lesson 0.3] begin half\n"
        '    todo!("lesson 0.3: half")\n'
        "    // end\n"
        "}\n"
    )


def test_only_the_named_bodies_are_cut():
    assert rust.cut(SOURCE, ["half"]) == SOURCE.replace("x / 2", 'todo!("lesson 0.3: half")')


def test_every_fence_of_the_crate_is_closed():
    begun = sum(path.read_text("utf-8").count("] begin ") for path in (ROOT / "rustbpe/src").glob("*.rs"))
    assert len(rust.bodies(ROOT / "rustbpe")) == begun >= 8


def test_the_crate_comes_without_bodies_and_without_build_products(space):
    rust.start(space)
    found = rust.bodies(space.path / "rustbpe")
    assert list(found) == list(rust.bodies(ROOT / "rustbpe"))
    assert all(body.strip() == f'todo!("lesson 0.3: {name}")' for name, body in found.items())
    assert sorted(path.name for path in (space.path / "rustbpe").iterdir()) == sorted(
        [".gitignore", *rust.CRATE]
    )


def test_what_lies_there_is_never_written_over(space):
    rust.start(space, ["train"])
    mine = space.path / "rustbpe" / "src" / "train.rs"
    mine.write_text("mine", "utf-8")
    with pytest.raises(CourseError, match="exists and is left as it is"):
        rust.start(space)
    assert mine.read_text("utf-8") == "mine"


def test_an_unknown_body_is_named_and_nothing_is_made(space):
    with pytest.raises(CourseError, match=r"called nope. There are: next_end"):
        rust.start(space, ["nope"])
    assert not (space.path / "rustbpe").exists()


def test_without_cargo_a_sentence_says_where_to_get_it(space, monkeypatch):
    rust.start(space)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CourseError, match=r"cargo is not installed: get it from https://rustup.rs"):
        rust.test(space)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_the_crate_without_bodies_compiles(space):
    rust.start(space)
    env = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "rustbpe/target")}  # what it needs is built there
    command = ["cargo", "build", "--release", "--lib"]
    crate = space.path / "rustbpe"
    done = subprocess.run(
        command, cwd=crate, env=env, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
