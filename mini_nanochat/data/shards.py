"""A data set on disk: a folder of parquet files, each a shard of documents.

    shard_00000.parquet, shard_00001.parquet, ...     column `text`, row groups of at most 1024 documents

The last shard by name is the validation set, all others are for training. A row group is what is read at
once: a whole shard may not fit into memory, and one document is too little to read at a time. Opening a
footer is cheap (kilobytes), so mistakes are found before training begins. Shards that are written here
carry checksums of their pages; a shard without them is checked as far as its compression notices damage.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mini_nanochat.corpus import TEXT_SUFFIXES

TEXT = "text"  # the column that counts; others may stand beside it
ROW_GROUP = 1024  # documents
SHARD_CHARACTERS = 250_000_000  # about 100 MB with zstd, for English
OWN_SUFFIXES = (*TEXT_SUFFIXES, ".jsonl", ".parquet")
DOCUMENT_CHARACTERS = 10_000  # a longer text file is cut: a book is many documents
PIECE = 1 << 16  # bytes of a text file that are read at once
TRAIN, VAL, EMPTY = "train", "val", "empty"


@dataclass(frozen=True)
class RowGroup:
    """A row group of a shard: its number in the file, counted from 0, and its documents."""

    path: Path
    index: int
    rows: int


class Counts(NamedTuple):
    """How many documents were written for training and for validation, and how many empty ones left out."""

    train: int
    val: int
    empty: int


# -- reading --------------------------------------------------------------------------------------


def shard_name(index: int) -> str:
    """`shard_00007.parquet`. Raises ValueError past 99999, where names would no longer sort as numbers."""
    if index > 99_999:
        raise ValueError("100,000 shards are the most a folder can name: put more characters into each")
    return f"shard_{index:05d}.parquet"


def train_and_val(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """The shards of a folder, sorted by name: those for training, and [the last], which is for validation.

    Hidden and partial files are ignored. Raises FileNotFoundError where there is no folder or no shard,
    ValueError for a single shard, and for a parquet file whose name leaves open where it belongs.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give one that `mini-nanochat data` has written")
    paths = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    for path in paths:
        if not re.fullmatch(r"shard_[0-9]{5}\.parquet", path.name):
            raise ValueError(f"{path} is not named like shard_00000.parquet: rename it, or move it away")
    if not paths:
        raise FileNotFoundError(
            f"{folder} holds no shards (shard_00000.parquet ...): write some with `mini-nanochat data`; "
            "those of a microworld are in its folder documents"
        )
    if len(paths) == 1:
        raise ValueError(
            f"{folder} holds one shard only, {paths[0].name}, and the last shard is the validation set, "
            "so val would be train: fetch or write at least one more"
        )
    return paths[:-1], paths[-1:]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A parquet file whose footer is whole and that has one column `text`, of strings."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: fetch or write it again")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except PermissionError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no whole parquet file: fetch or write it again ({error})") from None
    with file:
        found = [leaf for i in range(len(file.schema)) if (leaf := file.schema.column(i)).path == TEXT]
        if len(found) != 1:
            came = ", ".join(file.schema_arrow.names)
            raise ValueError(
                f"{path} has the columns {came}, and needs one named {TEXT}: rename the one with the documents"
            )
        if found[0].logical_type.type != "STRING":
            kind = file.schema_arrow.field(TEXT).type
            raise ValueError(f"{path}: column {TEXT} holds {kind}, not strings: write it again as strings")
        yield file


def row_groups(paths: Iterable[str | Path]) -> list[RowGroup]:
    """The row groups of shards, in order, without empty ones. Reads footers only.

    Raises FileNotFoundError for a shard that is not there; ValueError for one that is cut short, has no
    column `text` of strings, or has no rows.
    """
    found = []
    for path in map(Path, paths):
        with _opened(path) as file:
            rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        if not any(rows):
            raise ValueError(f"{path} holds no documents: remove it, or write it again")
        found += [RowGroup(path, i, n) for i, n in enumerate(rows) if n]
    return found


def read_group(group: RowGroup) -> list[str]:
    """The texts of a row group, in order.

    Raises ValueError for a null among them, for damage in the pages, and where the file is another one than
    when its row groups were listed; FileNotFoundError where it is gone.
    """
    path, index = group.path, group.index
    with _opened(path) as file:
        rows = file.metadata.row_group(index).num_rows if index < file.num_row_groups else 0
        if rows != group.rows:
            raise ValueError(
                f"{path} has changed while it was in use, row group {index} from {group.rows} to {rows} rows: "
                "begin again, and leave shards alone while they are read"
            )
        try:
            texts: list[Any] = file.read_row_group(index, columns=[TEXT]).column(TEXT).to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged, row group {index}: get it again ({error})") from None
    if None in texts:
        raise ValueError(
            f"{path}: row {texts.index(None)} of row group {index} is null, not a text: write it again without"
        )
    return texts


def documents(paths: Iterable[str | Path]) -> Iterator[str]:
    """All texts of shards, in order, a row group in memory at a time. Raises what its two halves raise."""
    for group in row_groups(paths):
        yield from read_group(group)


# -- writing --------------------------------------------------------------------------------------


def write_shards(
    documents: Iterable[str],
    folder: str | Path,
    *,
    characters: int = SHARD_CHARACTERS,
    row_group: int = ROW_GROUP,
    val_share: float = 0.05,
) -> Counts:
    """Writes documents into a new folder, in the order they come: training shards, and one validation shard.

    A hash of its text decides whether a document is for validation, about `val_share` of all, so that equal
    documents are never on both sides; each side gets at least one (for that, some of the first documents may
    move back). A shard ends at the document with which it has `characters` characters. Documents of white
    space alone are left out. In memory is a row group of each side. The folder appears when it is whole:
    whatever goes wrong, no half of it is left.

    Raises FileExistsError for a folder that is not empty or a file; ValueError for settings that cannot
    work, for fewer than two different documents, and for text that UTF-8 cannot hold; TypeError for a
    document that is no str; and whatever `documents` raises.
    """
    if characters < 1 or not 1 <= row_group <= ROW_GROUP or not 0 < val_share < 1:
        raise ValueError(
            f"characters must be at least 1, row_group between 1 and {ROW_GROUP}, val_share between 0 and 1, "
            f"got {characters}, {row_group} and {val_share}"
        )
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise FileExistsError(f"{folder} is there and is not empty: give another folder, or remove that one")
    aside = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    shutil.rmtree(aside, ignore_errors=True)  # of a process with our number, killed
    try:
        aside.mkdir(parents=True)
        counts = _fill(aside, _deal(documents, val_share), characters, row_group)
        if folder.exists():
            folder.rmdir()  # empty; on Windows a rename does not replace it
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return counts


class _Shard:
    """A parquet file that is being written, a row group at a time."""

    def __init__(self, path: Path, row_group: int) -> None:
        self.path, self.row_group = path, row_group
        self.characters, self.waiting = 0, list[str]()
        self.writer = pq.ParquetWriter(
            path,
            pa.schema([(TEXT, pa.string())]),
            compression="zstd",
            use_dictionary=False,  # documents hardly ever repeat
            write_statistics=False,  # the smallest and largest text help nobody
            write_page_checksum=True,
        )

    def add(self, text: str) -> None:
        self.waiting.append(text)
        self.characters += len(text)
        if len(self.waiting) == self.row_group:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.writer.write_table(pa.table({TEXT: pa.array(self.waiting, pa.string())}))
            self.waiting = []


def _fill(folder: Path, dealt: Iterator[tuple[str, str]], characters: int, row_group: int) -> Counts:
    """Writes (side, text) pairs into shards. The val shard gets its name last: only then is it known."""
    tally: Counter[str] = Counter()
    index = 0
    train = _Shard(folder / shard_name(index), row_group)
    val = _Shard(folder / "val.parquet", row_group)
    try:
        for side, text in dealt:
            tally[side] += 1
            if side == TRAIN and train.characters >= characters:
                train.flush()
                train.writer.close()
                index += 1
                train = _Shard(folder / shard_name(index), row_group)
            if side != EMPTY:
                (train if side == TRAIN else val).add(text)
        train.flush()
        val.flush()
    finally:
        train.writer.close()
        val.writer.close()
    val.path.rename(folder / shard_name(index + 1))
    return Counts(tally[TRAIN], tally[VAL], tally[EMPTY])


def _deal(documents: Iterable[str], val_share: float) -> Iterator[tuple[str, str]]:
    """(side, text) of each document, equal texts on one side, and some text on each side.

    A text is for validation if its hash, as a number from 0 to 1, is below `val_share`. As long as all texts
    have fallen on one side, the one nearest to the border is held back: if the end comes, it changes sides.
    """
    other = {TRAIN: VAL, VAL: TRAIN}
    seen: set[str] = set()
    held, copies, nearest = "", 0, float("inf")
    number = kept = 0
    for number, text in enumerate(documents, 1):
        utf8 = _utf8(text, f"document {number}")
        if not text.strip():
            yield EMPTY, text
            continue
        kept += 1
        share = int.from_bytes(hashlib.sha256(utf8).digest()[:8], "big") / 2**64
        side = VAL if share < val_share else TRAIN
        seen.add(side)
        distance = abs(share - val_share)
        if len(seen) == 2:
            yield from repeat((other[side], held), copies)
            yield side, text
            copies = 0
        elif text == held:
            copies += 1
        elif distance < nearest:
            yield from repeat((side, held), copies)
            held, copies, nearest = text, 1, distance
        else:
            yield side, text
    if kept == copies and len(seen) < 2:
        raise ValueError(
            f"{number} documents came, and of the {kept} that are not empty no two differ: give more text, for "
            "one document is needed to train on and another one for validation"
        )
    if len(seen) == 1:
        yield from repeat((other[side], held), copies)


def _utf8(text: Any, where: str) -> bytes:
    """The bytes of a text. Raises TypeError for anything else, ValueError for a lone surrogate."""
    if not isinstance(text, str):
        raise TypeError(f"{where} is a {type(text).__name__}, not a str: decode or convert it first")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} holds half of a character, U+{ord(text[error.start]):04X} at position {error.start}, "
            "which UTF-8 cannot store: repair the text, or leave it out"
        ) from None


# -- files of one's own ---------------------------------------------------------------------------


def read_own(paths: Iterable[str | Path]) -> Iterator[str]:
    """The documents of files, in order; of a folder, those of all such files below it, sorted by path.

    A text file (.txt, .md, .rst, .py) is one document, a long one several of about 10,000 characters at most;
    together they are its text, with lines that end in \\n. A .jsonl file has a document in the field `text`
    of each line, a .parquet file in each row of the column `text`. Below a folder, hidden files and folders
    and files of other kinds are left out. Only a piece of a file is in memory.

    Raises FileNotFoundError where there is nothing, ValueError for a file of another kind, for text that is
    not UTF-8, and for a line or a row without a text.
    """
    for path in map(Path, paths):
        for file in _files(path):
            if file.suffix.lower() == ".parquet":
                yield from documents([file])
            elif file.suffix.lower() == ".jsonl":
                yield from _lines(file)
            else:
                yield from _cut(_pieces(file), DOCUMENT_CHARACTERS)


def _files(path: Path) -> list[Path]:
    """The file itself, or those of its kinds below a folder."""
    kinds = ", ".join(OWN_SUFFIXES)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a file ({kinds}), or a folder that holds some")
    if not path.is_dir():
        if path.suffix.lower() not in OWN_SUFFIXES:
            raise ValueError(f"{path} is of a kind that is not read here: give one of {kinds}")
        return [path]
    found = []
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.suffix.lower() in OWN_SUFFIXES and file.is_file() and not hidden:
            found.append(file)
    if not found:
        raise FileNotFoundError(f"{path} holds no files to read ({kinds}): give another folder, or a file")
    return found


def _not_utf8(where: str | Path, error: UnicodeDecodeError, position: int) -> ValueError:
    """The sentence of mini_nanochat.corpus; `position` is that of the byte in the file, or in the line."""
    return ValueError(
        f"{where} is not UTF-8 text: byte {error.object[error.start]:#04x} at position {position}. "
        "Save it as UTF-8, or leave it out."
    )


def _pieces(path: Path) -> Iterator[str]:
    """The text of a file, bit by bit, without a byte order mark, every line ended by \\n."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    with path.open("rb") as file:
        while True:
            block = file.read(PIECE)
            try:
                yield decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error, file.tell() - len(error.object) + error.start) from None
            if not block:
                return


def _cut(pieces: Iterable[str], size: int) -> Iterator[str]:
    """A long text as documents of at most `size` characters, which joined are that text again."""
    rest = ""
    for piece in pieces:
        rest += piece
        while len(rest) > size:
            end = _end(rest, size)
            yield rest[:end]
            rest = rest[end:]
    yield rest


def _end(text: str, size: int) -> int:
    """How many of the first `size` characters to cut off: up to the last blank line, or white space, or all."""
    blank = text.rfind("\n\n", 0, size)
    if blank >= 0:
        return blank + 2
    return next((i for i in range(size, 0, -1) if text[i - 1].isspace()), size)


def _lines(path: Path) -> Iterator[str]:
    """The field `text` of each line of a JSON lines file; blank lines are passed over."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            try:
                decoded = line.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise _not_utf8(where, error, len(line) - len(error.object) + error.start) from None
            if decoded.strip():
                yield _field(decoded, where)


def _field(line: str, where: str) -> str:
    """The text in a line of JSON."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f'{where} is not JSON ({error}): each line must be {{"text": "..."}}') from None
    text = record.get(TEXT) if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise ValueError(
            f'{where} has no string in a field "text" ({line.strip()[:60]}): each line must be {{"text": "..."}}'
        )
    _utf8(text, where)
    return text
