"""records: what a run leaves behind, also when it was killed while writing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mini_nanochat import records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "metrics.jsonl"


def test_what_was_appended_is_read_in_its_order(path: Path) -> None:
    records.append(path, step=0, loss=2.5, skipped=False)
    records.append(path, step=1, loss=2.25, note="a line\nand Übung")
    assert records.read(path) == [
        {"step": 0, "loss": 2.5, "skipped": False},
        {"step": 1, "loss": 2.25, "note": "a line\nand Übung"},
    ]
    assert len(path.read_text("utf-8").splitlines()) == 2


def test_any_tool_can_read_a_number_that_is_not_finite(path: Path) -> None:
    records.append(path, nan=math.nan, inf=math.inf, minus=-math.inf, fine=1e300)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    line = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert line == {"nan": None, "inf": None, "minus": None, "fine": 1e300}


def test_a_last_line_that_is_cut_off_is_passed_over(path: Path) -> None:
    records.append(path, step=0)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 1, "lo')
    assert records.read(path) == [{"step": 0}]


def test_damage_in_the_middle_is_not_passed_over(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"step": 0}\n{"st\n{"step": 2}\n', "utf-8")
    with pytest.raises(json.JSONDecodeError):
        records.read(path)


def test_records_beyond_a_step_are_dropped_and_half_a_line_with_them(path: Path) -> None:
    for step in range(4):
        records.append(path, step=step, loss=math.nan)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 4')
    records.cut_after(path, 1)
    records.append(path, step=2, loss=1.0)
    assert records.read(path) == [
        {"step": 0, "loss": None},
        {"step": 1, "loss": None},
        {"step": 2, "loss": 1.0},
    ]


def test_records_without_a_step_stay(path: Path) -> None:
    records.append(path, run="d4")
    records.append(path, step=7)
    records.cut_after(path, 3)
    assert records.read(path) == [{"run": "d4"}]


def test_nothing_to_cut_is_no_error(path: Path) -> None:
    records.cut_after(path, 3)
    assert not path.exists()


def test_killed_while_cutting_nothing_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(3):
        records.append(path, step=step)
    before = path.read_bytes()

    def killed(self: Path, text: str, **_: object) -> int:
        with self.open("w", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        records.cut_after(path, 1)
    monkeypatch.undo()
    assert path.read_bytes() == before
    records.cut_after(path, 1)
    assert records.read(path) == [{"step": 0}, {"step": 1}]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
