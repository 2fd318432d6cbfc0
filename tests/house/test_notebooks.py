"""Every notebook runs: as a learner who has solved it sees it, and as one who has only pressed Run."""

import json
import os

import nbclient
import nbformat
import pytest

from mini_nanochat.course.manifest import curriculum
from mini_nanochat.course.workspace import Workspace, fill_exercises, reference

LESSONS = curriculum().lessons
each = pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.id for lesson in LESSONS])


def run(space, lesson, book):
    """Runs a notebook in a kernel that stands where the learner stands; returns all that was printed."""
    path = space.notebook(lesson).parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MINI_NANOCHAT")}
    environment |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    client = nbclient.NotebookClient(
        book,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": path}},
        allow_error_names=["NotImplementedError"],  # shown as one line: "not written yet"
    )
    client.execute(env=environment)
    outputs = [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]
    errors = [out for out in outputs if out.output_type in ("error",) or out.get("name") == "stderr"]
    assert not errors, f"{lesson.id}: {errors[:2]}"
    texts = [out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in outputs]
    return "\n".join("".join(text) for text in texts), outputs


@pytest.mark.slow
@each
def test_solved_it_runs_from_the_first_cell_to_full_points(lesson, tmp_path):
    space = Workspace.create(tmp_path / "workspace")
    space.start(lesson)
    book = json.loads(space.notebook(lesson).read_text("utf-8"))
    fill_exercises(book, reference(lesson))
    text, outputs = run(space, lesson, nbformat.reads(json.dumps(book), as_version=4))
    assert "not written yet" not in text
    assert f"All done. {'Next' if curriculum().following(lesson) else 'stars'}" in text, text[-1500:]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert len(pictures) >= 2, "a lesson without pictures"


@pytest.mark.slow
@each
def test_unsolved_it_runs_too_and_says_what_is_not_written(lesson, tmp_path):
    space = Workspace.create(tmp_path / "workspace")
    space.start(lesson)
    before = space.file(lesson).read_text("utf-8")
    book = nbformat.read(space.notebook(lesson), as_version=4)
    text, _ = run(space, lesson, book)
    assert "not written yet" in text
    assert "points 0/" in text, text[-1500:]
    assert space.file(lesson).read_text("utf-8") == before, "running the stubs changed the learner's file"
