"""Two Python files side by side by what they define; see tools/comparator/README.md.

python tools/comparator/compare.py --ours mini_nanochat/model/gpt.py --theirs other/gpt.py
python tools/comparator/compare.py --ours mini_nanochat/model/gpt.py --nanochat ../nanochat
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from mini_nanochat.course.compare import compare, with_nanochat
from mini_nanochat.course.compare_view import report
from mini_nanochat.course.definitions import read
from mini_nanochat.course.errors import CourseError
from mini_nanochat.flags import flag, run


@dataclass(frozen=True)
class Config:
    """What to compare, and where to show it."""

    ours: Path
    theirs: Path | None = flag(None, "the other file")
    nanochat: Path | None = flag(
        None, "a clone of nanochat: the other file is found in it, for a lesson's module"
    )
    format: str = flag("terminal", "terminal, markdown or html")
    out: Path | None = flag(None, "a file to write to")

    def __post_init__(self) -> None:
        if self.theirs and self.nanochat:
            raise ValueError("say --theirs or --nanochat, not both")


def main(config: Config) -> None:
    try:
        if config.theirs:
            found = compare(read(config.ours), read(config.theirs))
        else:
            found = with_nanochat(config.ours, config.nanochat)
        report(found, config.format, config.out)
    except CourseError as error:
        raise ValueError(error) from None


if __name__ == "__main__":
    sys.exit(run(Config, main, description="Two Python files side by side, by what they define."))
