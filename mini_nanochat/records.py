"""What a run leaves behind to read: a file of JSON lines, one record a step. Any tool can read it, while it grows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any


def append(path: Path, **record: Any) -> None:
    """Adds a line to the file. A number that is not finite becomes null, because JSON knows no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    clean = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(clean) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All records. A last line that is cut off, as a killed run leaves it, is passed over."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            records.append(json.loads(line))
    return records


def cut_after(path: Path, step: int) -> None:
    """Drops the records beyond `step`: a run that goes on from a checkpoint writes them again.

    The new file is written aside and then takes the name, so a run that is killed here has lost nothing.
    """
    if path.is_file():
        kept = [record for record in read(path) if record.get("step", 0) <= step]
        aside = path.with_name(f".{path.name}.writing")
        aside.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        aside.replace(path)
