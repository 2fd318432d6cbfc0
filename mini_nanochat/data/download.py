"""Fetches the shards of a published data set, so that a broken connection costs seconds and never a file.

Bytes arrive in `shard_00000.parquet.partial`, beside the validator of the file they belong to (its ETag, or
its date); the next attempt, of this run or a later one, asks for the rest. A shard gets its name when its
length is right and its footer can be read. The validation shard is fetched first, whatever the number of
training shards: then the last shard of the folder is the same for everybody, even in a folder half fetched.
(nanochat's once depended on how many shards one had fetched.)
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from mini_nanochat.data.shards import row_groups, shard_name

BLOCK = 1 << 16  # bytes
TIMEOUT = 10.0  # seconds without a byte; also how long Ctrl-C may wait for a silent server
SHOWN = 5  # missing shards that a message names
TRANSIENT = (408, 425, 429)  # answers below 500 that another attempt may change
RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")  # Content-Range: first byte if any, and the whole length


@dataclass(frozen=True)
class Dataset:
    """A published data set: where its shards are, and the number of the last, the validation set."""

    base_url: str
    last: int
    megabytes: int  # of a shard, about


# FineWeb-Edu's sample of 100 billion tokens, shuffled and cut into 1,823 shards for nanochat. Location and
# number of shards: nanochat/dataset.py of 2025. Size: nanochat/dev/repackage_data_reference.py.
DATASETS = {
    "fineweb-edu": Dataset(
        base_url="https://huggingface.co/datasets/karpathy/fineweb-edu-100b-shuffle/resolve/main/",
        last=1822,
        megabytes=100,
    )
}


class _AgainError(Exception):
    """An attempt failed, and another one may not."""


class _RefusedError(Exception):
    """The server will not give this file."""


def _silent(*_: object) -> None:
    """Says nothing."""


def download(
    dataset: Dataset,
    count: int,
    folder: str | Path,
    *,
    workers: int = 4,
    attempts: int = 5,
    base_url: str | None = None,
    timeout: float = TIMEOUT,
    sleep: Callable[[float], object] | None = None,
    on_progress: Callable[[str, int, int | None], object] = _silent,
    on_retry: Callable[[str], object] = _silent,
) -> list[Path]:
    """Fetches the first `count` training shards and the validation shard into a folder; returns their paths.

    What is there already and whole is not fetched again; what is there and broken is kept as `*.broken`.
    `attempts` counts failures of a shard in a row without a new byte; before the next one come 1, 2, 4 ...
    seconds (`sleep`; None: a wait that Ctrl-C ends). `timeout` is in seconds without a byte. `base_url` is
    another place with the same files. `on_progress(shard, bytes so far, bytes in all or None)` and
    `on_retry(sentence)` are called from several threads, one at a time.

    Raises ValueError for numbers that cannot work; FileExistsError for a folder with other shards;
    BlockingIOError if another process downloads into the folder; ConnectionError, when all else is done,
    with the shards that could not be fetched and why. Ctrl-C stops within `timeout`; what has come stays.
    """
    base_url = dataset.base_url if base_url is None else base_url
    if not 1 <= count <= dataset.last or workers < 1 or attempts < 1:
        raise ValueError(
            f"shards must be between 1 and {dataset.last}, workers and attempts at least 1, "
            f"got {count}, {workers} and {attempts}"
        )
    if not base_url.startswith(("http://", "https://")):
        raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
    folder, stop = Path(folder), threading.Event()
    val, *train = [shard_name(i) for i in (dataset.last, *range(count))]
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if any(folder.glob("shard_*.parquet")) and not any(folder.glob(f"{val}*")):
            raise FileExistsError(
                f"{folder} holds shards, but not {val}, which is always fetched first: "
                "they belong to another data set, so give another folder"
            )
        fetch = _Fetch(
            base_url,
            folder,
            attempts,
            timeout,
            sleep or stop.wait,
            on_progress,
            on_retry,
            stop,
            threading.Lock(),
        )
        failed = fetch.shard(val)
        missing = [failed] if failed else _together(fetch, train, workers)
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ConnectionError(
            f"{', '.join(missing[:SHOWN])}{more} could not be fetched from {base_url}: "
            f"what has come is kept in {folder}, and the same command goes on where it stopped"
        )
    return [folder / name for name in (*train, val)]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder's lock file. The system lets go of it when the process ends, however it ends."""
    with (folder / ".download.lock").open("ab") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BlockingIOError(
                f"{folder} cannot be locked ({error.strerror}), most likely because another process downloads "
                "into it: wait for that one, or give another folder"
            ) from None
        yield


def _together(fetch: _Fetch, names: list[str], workers: int) -> list[str]:
    """Fetches shards, some at a time; one that fails does not stop the others. Returns what is missing."""
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(fetch.shard, name) for name in names]
        waiting = set(futures)
        while waiting:  # on Windows, Ctrl-C does not end a wait without a limit
            done, waiting = wait(waiting, timeout=0.2)
            for one in done:
                one.result()
        return [failed for one in futures if (failed := one.result())]
    except BaseException:
        fetch.stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Fetch:
    """What all shards of a download share."""

    base_url: str
    folder: Path
    attempts: int
    timeout: float
    sleep: Callable[[float], object]
    on_progress: Callable[[str, int, int | None], object]
    on_retry: Callable[[str], object]
    stop: threading.Event
    lock: threading.Lock

    def shard(self, name: str) -> str:
        """Fetches one shard, in as many attempts as it takes; returns "" or why it is missing."""
        try:
            if not self._there(name):
                self._persist(name)
        except (_AgainError, _RefusedError, OSError) as error:
            return f"{name} ({error})"
        return ""

    def _there(self, name: str) -> bool:
        """Whether the shard is there and whole. A broken one is moved aside."""
        path = self.folder / name
        if not path.exists():
            return False
        try:
            row_groups([path])
        except ValueError:
            numbered = (path.with_name(f"{name}.broken{i or ''}") for i in itertools.count())
            path.rename(next(other for other in numbered if not other.exists()))
            return False
        self._report(name, path.stat().st_size, path.stat().st_size)
        return True

    def _persist(self, name: str) -> None:
        """Attempt after attempt, until the shard is whole or `attempts` in a row have brought nothing new."""
        partial = _Partial(self.folder / f"{name}.partial")
        failures = most = 0
        while not self.stop.is_set():
            try:
                self._receive(name, partial)
                partial.place(self.folder / name)
                return
            except _AgainError as error:
                held = partial.held()[0]
                failures, most = (1, held) if held > most else (failures + 1, most)
                if failures == self.attempts or self.stop.is_set():
                    raise
                seconds = 2 ** (failures - 1)
                with self.lock:
                    self.on_retry(f"{name}: {error}; next attempt in {seconds} s")
                self.sleep(seconds)

    def _receive(self, name: str, partial: _Partial) -> None:
        """One request, for what is missing. Raises _AgainError if it did not bring all of it."""
        held, validator = partial.held()
        wanted = {"Range": f"bytes={held}-", "If-Range": validator} if held else {}
        with _open(self.base_url.rstrip("/") + "/" + name, wanted, self.timeout) as response:
            first, total = _extent(response)
            if response.status == 416 and total == held and _validator(response) in ("", validator):
                return  # nothing is missing
            fits = response.status == 206 and first == held and _validator(response) == validator
            if response.status in (206, 416) and not fits:
                partial.discard()
                raise _AgainError("the file has changed on the server")
            if response.status != 206:
                held = 0
                partial.begin(_validator(response))
            with partial.path.open("ab") as file:
                for block in _blocks(response):
                    file.write(block)
                    held += len(block)
                    self._report(name, held, total)
                    if self.stop.is_set():
                        raise _RefusedError("stopped")
        if total is not None and held != total:
            raise _AgainError(f"the connection ended after {held:,} of {total:,} bytes")

    def _report(self, name: str, held: int, total: int | None) -> None:
        with self.lock:
            self.on_progress(name, held, total)


@dataclass(frozen=True)
class _Partial:
    """The bytes of a shard that have come so far; beside them, what tells its file from a later version."""

    path: Path

    @property
    def stamp(self) -> Path:
        """Where the validator is."""
        return self.path.with_name(f"{self.path.name}.etag")

    def held(self) -> tuple[int, str]:
        """How many bytes are of use, and the validator of their file; without one, none are."""
        try:
            validator = self.stamp.read_text("utf-8", errors="replace")
            size = self.path.stat().st_size
        except FileNotFoundError:
            return 0, ""
        return (size, validator) if validator.isascii() and validator.isprintable() and validator else (0, "")

    def discard(self) -> None:
        """Forgets what came."""
        self.path.unlink(missing_ok=True)
        self.stamp.unlink(missing_ok=True)

    def begin(self, validator: str) -> None:
        """Forgets what came, for a file with this validator."""
        self.discard()
        self.stamp.write_text(validator, "utf-8")

    def place(self, target: Path) -> None:
        """Gives the shard its name, if it is one."""
        try:
            row_groups([self.path])
        except ValueError as error:
            self.discard()
            raise _AgainError(f"what came is no shard of documents: {error}") from None
        os.replace(self.path, target)
        self.stamp.unlink(missing_ok=True)


def _open(url: str, headers: dict[str, str], timeout: float) -> Any:
    """The answer to a request, if it has a part of the file or says that none is missing (416)."""
    try:
        return urlopen(Request(url, headers={"User-Agent": "mini-nanochat", **headers}), timeout=timeout)
    except HTTPError as error:
        if error.code == 416:
            return error
        error.close()
        kind = _AgainError if error.code >= 500 or error.code in TRANSIENT else _RefusedError
        raise kind(f"the server answered {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise _AgainError(f"no connection: {getattr(error, 'reason', error)}") from None


def _extent(response: Any) -> tuple[int | None, int | None]:
    """The number of the first byte in an answer, and the length of the whole file; None if it does not say."""
    if response.status in (206, 416):
        found = RANGE.match(response.headers.get("Content-Range", ""))
        first = int(found[1]) if found and found[1] else None
        return first, int(found[2]) if found else None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _validator(response: Any) -> str:
    """What changes when the file does: its strong ETag, or else its date, or else nothing."""
    etag: str = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _blocks(response: Any) -> Iterator[bytes]:
    """The bytes of an answer, as they arrive."""
    while True:
        try:
            block = response.read1(BLOCK)
        except (OSError, HTTPException) as error:
            raise _AgainError(f"the connection broke: {error}") from None
        if not block:
            return
        yield block
