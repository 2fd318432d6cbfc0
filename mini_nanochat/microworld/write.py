"""Pebbleford on disk: documents as parquet shards, conversations and exams as JSON lines, and a manifest.

    manifest.json                       settings, counts, what is held out, baselines, fingerprints
    documents/shard_00000.parquet ...   columns text and kind; the last shard is the validation set
    conversations/mid_train.jsonl ...   one conversation a line
    exams/core.jsonl, chat.jsonl        one item a line

The folder is written aside and renamed when it is whole. Fingerprints are of the contents: parquet files
of another version of pyarrow differ in their bytes and agree in their texts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mini_nanochat.microworld import exams
from mini_nanochat.microworld.conversations import conversations
from mini_nanochat.microworld.documents import gather, validation
from mini_nanochat.microworld.phrases import EXAM_QUESTIONS
from mini_nanochat.microworld.problems import CLASSES, of_group
from mini_nanochat.microworld.world import TOWN, WORDS, World, build, held_out_pair, held_out_word

MANIFEST = "manifest.json"
LARGEST = 144  # operands are at most 12 * 12
VALIDATION = 0.05  # of the training documents' bytes, drawn before those that occur in training are removed

Document = tuple[str, str]


@dataclass
class Contents:
    """Everything that will be written: path -> documents, path -> JSON lines, and the manifest."""

    shards: dict[str, Sequence[Document]] = field(default_factory=dict)
    lines: dict[str, Sequence[Any]] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)


def fingerprint(texts: Iterable[str]) -> str:
    """SHA-256 of texts in their order, each ended by a byte that no UTF-8 text holds."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\xff")
    return digest.hexdigest()


def dump(record: Any) -> str:
    """A record as one line of JSON."""
    return json.dumps(record, ensure_ascii=False)


def compose(*, megabytes: float, seed: int, shards: int, row_group: int) -> Contents:
    """The whole of Pebbleford in memory: the same settings give the same contents, everywhere.

    Raises ValueError if there are fewer documents than shards.
    """
    world = build(seed)
    size = int(megabytes * 1_000_000)
    train = gather(world, "train", size)
    val, removed = validation(world, train, int(size * VALIDATION))
    if len(train) < shards or not val:
        raise ValueError(
            f"megabytes {megabytes} make only {len(train)} documents: too few for {shards} shards"
        )
    cuts = [len(train) * i // shards for i in range(shards + 1)]
    parts = [*(train[a:b] for a, b in zip(cuts, cuts[1:])), val]
    made = Contents(shards={f"documents/shard_{i:05d}.parquet": part for i, part in enumerate(parts)})
    talked = conversations(world)
    made.lines = {f"conversations/{name}.jsonl": some for name, some in talked.items()}
    made.lines["exams/core.jsonl"], made.lines["exams/chat.jsonl"] = exams.core(world), exams.chat(world)
    files = {
        path: {"records": len(part), "sha256": fingerprint(text for _, text in part)}
        for path, part in made.shards.items()
    }
    for path, some in made.lines.items():
        files[path] = {"records": len(some), "sha256": fingerprint(map(dump, some))}
    *train_shards, val_shard = made.shards
    made.manifest = {
        "town": TOWN,
        "settings": {"seed": seed, "megabytes": megabytes, "shards": shards, "row_group": row_group},
        "documents": {
            "train": {"shards": train_shards, "bytes": size_of(train), "kinds": tally(train)},
            "val": {"shards": [val_shard], "bytes": size_of(val), "kinds": tally(val)},
            "removed_from_val_because_in_train": removed,
        },
        "conversations": {name: dict(Counter(one["kind"] for one in some)) for name, some in talked.items()},
        "exams": exams.baselines([*made.lines["exams/core.jsonl"], *made.lines["exams/chat.jsonl"]]),
        "held_out": held_out(world),
        "files": files,
        "fingerprint": fingerprint(f"{path} {entry['sha256']}" for path, entry in files.items()),
    }
    return made


def size_of(documents: Sequence[Document]) -> int:
    """Bytes of text."""
    return sum(len(text.encode()) for _, text in documents)


def tally(documents: Sequence[Document]) -> dict[str, int]:
    """Kind -> number of documents, the commonest first."""
    return dict(Counter(kind for kind, _ in documents).most_common())


def held_out(world: World) -> dict[str, Any]:
    """What no conversation shows, as lists."""
    pairs = [(a, b) for a in range(1, LARGEST + 1) for b in range(a, LARGEST + 1)]
    return {
        "facts": [list(fact) for fact in world.all_facts() if world.held_out(*fact)],
        "phrasings": EXAM_QUESTIONS,
        "operand_pairs": [f"{a} {b}" for a, b in pairs if held_out_pair(a, b)],
        "words": [word for word in WORDS if held_out_word(word)],
        "unknown_people_taught": list(world.taught),
        "unknown_people_in_exams": list(world.untaught),
        "problems": {group: [template.name for template in of_group(group)] for group in CLASSES},
    }


def write(out: Path, *, megabytes: float, seed: int, shards: int, row_group: int) -> tuple[Contents, bool]:
    """Writes Pebbleford to the folder `out`; returns its contents, and False if just that was there already.

    Raises FileExistsError if `out` is anything else than an empty folder or the same world, whole.
    """
    settings = {"megabytes": megabytes, "seed": seed, "shards": shards, "row_group": row_group}
    taken = out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir())))
    made = None
    if not taken or settings == settings_of(out):
        made = compose(megabytes=megabytes, seed=seed, shards=shards, row_group=row_group)
    if taken:
        if made is not None and same(out, made.manifest):
            return made, False
        raise FileExistsError(
            f"{out} is there already and is not this world, whole: nothing was written. "
            "Give another folder with --out, or remove that one."
        )
    assert made is not None
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.parent / f".{out.name}.{os.getpid()}.partial"
    try:
        fill(aside, made, row_group)
        if out.exists():
            out.rmdir()  # empty; on Windows a rename does not replace it
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return made, True


def fill(folder: Path, made: Contents, row_group: int) -> None:
    """Writes all files into a new folder, the manifest last."""
    for path, part in made.shards.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({"text": [text for _, text in part], "kind": [kind for kind, _ in part]})
        options = {"compression": "zstd", "use_dictionary": ["kind"], "write_page_checksum": True}
        pq.write_table(table, target, row_group_size=row_group, **options)
    for path, some in made.lines.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes("".join(dump(one) + "\n" for one in some).encode())
    (folder / MANIFEST).write_bytes((json.dumps(made.manifest, indent=1) + "\n").encode())


def settings_of(folder: Path) -> Any:
    """The settings in the manifest of a folder; None where there is none."""
    try:
        return json.loads((folder / MANIFEST).read_text("utf-8"))["settings"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def same(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether a folder holds exactly what this manifest says: the manifest itself, and every file's contents."""
    try:
        if json.loads((folder / MANIFEST).read_text("utf-8")) != json.loads(json.dumps(manifest)):
            return False
        return all(
            entry["sha256"] == read_fingerprint(folder / path) for path, entry in manifest["files"].items()
        )
    except (OSError, ValueError, pa.ArrowException):
        return False


def read_fingerprint(path: Path) -> str:
    """The fingerprint of a file that was written here, computed from what stands in it now."""
    if path.suffix == ".parquet":
        return fingerprint(pq.read_table(path, columns=["text"]).column("text").to_pylist())
    return fingerprint(path.read_text("utf-8").splitlines())
