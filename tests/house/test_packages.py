"""Every lesson's package is whole, and what follows from the manifest is what the manifest says."""

import ast
import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

from mini_nanochat.course import prove, stars, stubs
from mini_nanochat.course.hints import ladder
from mini_nanochat.course.manifest import ROOT, curriculum, read_toml
from mini_nanochat.course.workspace import reference

LESSONS = curriculum().lessons
each = pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.id for lesson in LESSONS])


def tool(path: str):
    """A module of tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@each
def test_no_file_of_the_package_is_missing(lesson):
    missing = [path for path in lesson.artefacts() if not (ROOT / path).is_file()]
    assert not missing, f"{lesson.id} lacks {missing}"


def test_lessons_stand_in_order_and_phases_know_how_many():
    numbers = [(lesson.phase, lesson.number) for lesson in LESSONS]
    assert numbers == sorted(set(numbers)), "ids out of order or given twice"
    assert [phase.id for phase in curriculum().phases] == list(range(12)), "phases 0 to 11"
    assert sum(phase.planned for phase in curriculum().phases) == 41, "41 lessons are promised"
    for phase in curriculum().phases:
        assert sum(lesson.phase == phase.id for lesson in LESSONS) <= phase.planned, f"phase {phase.id}"


@each
def test_the_reference_defines_what_the_manifest_asks_for(lesson):
    for name in lesson.todo:
        node = stubs.find(reference(lesson), name)
        assert node is not None, f"{lesson.module} defines no {name}"
        assert ast.get_docstring(node), f"{name} has no docstring: the stub would say nothing"
        assert node.returns is not None, f"{name} has no return type"


@each
def test_the_ladder_has_three_rungs_for_each_exercise(lesson):
    sheet = read_toml(ROOT / lesson.sheet)
    assert set(sheet["hints"]) == set(lesson.todo), "hints for other names than the manifest's"
    for name in lesson.todo:
        rungs = ladder(lesson, name)
        assert len(rungs) >= 3, f"{name} has {len(rungs)} rungs"
        body = stubs.extract(reference(lesson), name)
        assert not any(body.strip() in rung for rung in rungs), f"a hint gives {name} away whole"


@each
def test_predictions_and_museum_are_sound(lesson):
    questions = stars.questions(lesson)
    assert len({q["id"] for q in questions}) == len(questions) >= 3, (
        "three questions at least, each with its own id"
    )
    assert all(stars.right(q["answer"], q["answer"]) for q in questions), (
        "an answer that is not right by itself"
    )
    bugs = {mutant.name: mutant for mutant in prove.mutants(lesson)}
    exhibits = read_toml(ROOT / lesson.sheet).get("museum", [])
    assert exhibits, "a museum without exhibits"
    for exhibit in exhibits:
        assert bugs[exhibit["mutant"]].origin, f"{exhibit['id']}: where did this bug ship?"


@each
def test_mutants_have_names_of_their_own_and_exercises_of_the_lesson(lesson):
    planted = prove.mutants(lesson)
    assert len({mutant.name for mutant in planted}) == len(planted), "a name is used twice"
    assert {mutant.exercise for mutant in planted} <= set(lesson.todo), "an exercise that the lesson has not"
    for mutant in planted:
        compile(mutant.apply(reference(lesson)), mutant.name, "exec")


@each
def test_graded_tests_name_an_exercise(lesson):
    tree = ast.parse((ROOT / lesson.tests).read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            text = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
            assert "pytest.mark.exercise(" in text, f"{node.name} belongs to no exercise"


@each
def test_the_checkpoint_page_has_a_section_for_the_lesson(lesson):
    text = (ROOT / lesson.checkpoint).read_text("utf-8")
    assert f"## {lesson.id} " in text, f"{lesson.checkpoint} has no section '## {lesson.id} ...'"


def test_generated_pages_are_what_the_manifest_says():
    for name, text in tool("tools/generate.py").pages().items():
        assert (ROOT / name).read_text("utf-8") == text, f"{name} is out of date: run `make generate`"


@each
def test_the_notebook_is_normalised(lesson):
    normalise = tool("tools/notebooks/normalise.py")
    data = (ROOT / lesson.notebook).read_bytes()
    again = normalise.as_bytes(normalise.normalise(json.loads(data), lesson))
    assert again == data, f"{lesson.notebook} is not normalised: run `make generate`"


@each
def test_a_run_notebook_normalises_to_the_same_bytes(lesson):
    normalise = tool("tools/notebooks/normalise.py")
    data = (ROOT / lesson.notebook).read_bytes()
    book = json.loads(data)
    for number, cell in enumerate(book["cells"]):
        cell["id"] = f"x{number}"
        cell["metadata"]["collapsed"] = True
        if cell["cell_type"] == "code":
            cell |= {
                "execution_count": number,
                "outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}],
            }
    book["metadata"]["language_info"] = {"name": "python", "version": "9.9"}
    assert normalise.as_bytes(normalise.normalise(book, lesson)) == data


@each
def test_the_notebook_asks_for_every_exercise_and_prediction(lesson):
    book = json.loads((ROOT / lesson.notebook).read_text("utf-8"))
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    exercises = [text.split()[2] for text in code if text.startswith("%%exercise")]
    assert sorted(exercises) == sorted(lesson.todo), "each exercise once"
    assert all(len(text.splitlines()) == 1 for text in code if text.startswith("%%exercise")), (
        "stubs are filled in"
    )
    for question in stars.questions(lesson):
        call = f'predict("{lesson.id}", "{question["id"]}", ...)'
        assert any(call in text for text in code), f"the notebook never asks {question['id']}"


@each
def test_the_notebook_asks_its_predictions_in_the_order_of_the_sheet(lesson):
    text = (ROOT / lesson.notebook).read_text("utf-8")
    asked = re.findall(r'predict\(\\"[\d.]+\\", \\"(\w+)\\", \.\.\.\)', text)
    assert asked == [question["id"] for question in stars.questions(lesson)], "numbers and order disagree"


def test_nothing_is_committed_that_should_not_be():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    files = done.stdout.split()
    if not files:
        pytest.skip("not a git checkout")
    refused = (".safetensors", ".pt", ".bin", ".parquet", ".pkl", ".npz", ".so", ".whl", "uv.lock")
    assert not [name for name in files if name.endswith(refused)], "weights, data or lock files"
    assert not [name for name in files if name.startswith(("workspace/", "runs/"))], "a learner's files"
    for name in files:
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        assert len(data) < 2**20, f"{name} has {len(data)} bytes"
        assert str(ROOT).encode() + b"/" not in data, f"{name} holds a path of this machine"
