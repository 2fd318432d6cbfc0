"""download: a server on this machine does everything that a network does, and no byte is lost or taken twice.

Waiting is passed in and noted, so that no test waits; only a time-out takes its fraction of a second.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import zlib
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mini_nanochat.flags
from mini_nanochat.data import download as module
from mini_nanochat.data.download import DATASETS, Dataset
from mini_nanochat.data.shards import documents, train_and_val
from mini_nanochat.scripts import data

SMALL = Dataset(base_url="", last=5, megabytes=1)
VAL = "shard_00005.parquet"
FIRST, SECOND, THIRD = (f"shard_0000{i}.parquet" for i in range(3))


def parquet(name, texts=200, column="text"):
    """The bytes of a shard, some thousands, different for each name."""
    sink = pa.BufferOutputStream()
    words = [f"{name} {i} " + str(i * 7919) for i in range(texts)]
    pq.write_table(pa.table({column: words}), sink, compression="none", use_dictionary=False)
    return sink.getvalue().to_pybytes()


@dataclass
class Origin:
    """What the server has, how it behaves (a shard's list has a behaviour for each coming request), and a log."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    plan: dict[str, list] = field(default_factory=dict)
    log: list[tuple[str, str | None, int]] = field(default_factory=list)  # shard, Range, status
    ranges = True
    elsewhere = False  # whether each request is sent on to another address
    tags = "etag"  # or "weak", "date", "none"
    release: threading.Event = field(default_factory=threading.Event)

    def requests(self, name):
        """(Range, status) of each request for a shard."""
        return [(asked, status) for one, asked, status in self.log if one == name]


class Handler(BaseHTTPRequestHandler):
    """Serves `origin`. Behaviours: a status; or bytes after which something happens to the connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, origin, *arguments):
        self.origin = origin
        super().__init__(*arguments)

    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.rpartition("/")[2].partition("?")[0]
        if self.origin.elsewhere and "/data/" in self.path:
            return self.answer("redirect", 302, {"Location": f"/cdn/{name}?signed"}, b"")
        planned = self.origin.plan.get(name)
        what, amount = planned.pop(0) if planned else ("whole", None)
        body = self.origin.files.get(name)
        if what == "status" or body is None:
            return self.answer(name, amount or 404, {}, b"no")
        number = zlib.crc32(body)
        tag = f'"{number}"'
        version = {
            "etag": {"ETag": tag},
            "weak": {"ETag": f"W/{tag}"},
            "date": {"Last-Modified": f"Sat, {1 + number % 28:02} Jan 2000 00:00:00 GMT"},
            "none": {},
        }[self.origin.tags]
        asked, known = self.headers["Range"], self.headers["If-Range"]
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if not asked or not self.origin.ranges or (known not in version.values() and what != "forget"):
            return self.answer(name, 200, version, body, what, amount)
        if start >= len(body):
            return self.answer(name, 416, {**version, "Content-Range": f"bytes */{len(body)}"}, b"")
        version["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return self.answer(name, 206, version, body[start:], what, amount)

    def answer(self, name, status, headers, body, what="whole", amount=None):
        self.origin.log.append((name, self.headers["Range"], status))
        self.send_response(status)
        length = len(body) + amount if what == "lie" else len(body)
        if what != "no length":
            self.send_header("Content-Length", "some" if what == "nonsense" else str(length))
        for key, value in headers.items():
            self.send_header(key, value)
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body if what in ("whole", "lie", "linger") else body[:amount])
        if what == "reset":  # the other side gets an error, not an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif what == "trickle":
            for i in range(amount, len(body)):
                self.origin.release.wait(0.01)
                self.wfile.write(body[i : i + 1])
        elif what in ("stall", "linger"):
            self.wfile.flush()
            self.origin.release.wait(10)


@pytest.fixture
def origin(monkeypatch):
    """A server with five training shards and a validation shard."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Origin(files={f"shard_0000{i}.parquet": parquet(f"s{i}") for i in range(6)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, made))
    server.daemon_threads, server.block_on_close = True, False
    server.handle_error = lambda *_: None  # a client that hangs up is part of the play
    made.url = f"http://127.0.0.1:{server.server_port}/data/"
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    yield made
    made.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Run:
    """Downloads into a folder, and what was waited, said and reported meanwhile."""

    origin: Origin
    folder: Path
    waited: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    reports: list[tuple[str, int, int | None]] = field(default_factory=list)
    meanwhile: object = None  # called in place of waiting

    def __call__(self, count=1, **options):
        def sleep(seconds):
            self.waited.append(seconds)
            if self.meanwhile:
                self.meanwhile()

        options = {"base_url": self.origin.url, "timeout": 5.0, "sleep": sleep, **options}
        options.setdefault("on_progress", lambda *report: self.reports.append(report))
        return module.download(SMALL, count, self.folder, on_retry=self.said.append, **options)

    def names(self):
        """The files of the folder, the lock aside."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != ".download.lock")

    def check(self, *names):
        """The folder has these shards, whole, and nothing else."""
        assert self.names() == sorted(names)
        for name in names:
            assert (self.folder / name).read_bytes() == self.origin.files[name], name


@pytest.fixture
def run(origin, tmp_path):
    return Run(origin, tmp_path / "deep" / "data")


# -- when all goes well ---------------------------------------------------------------------------


def test_the_first_shards_and_always_the_validation_shard_are_fetched(run, origin):
    paths = run(3)
    run.check(FIRST, SECOND, THIRD, VAL)
    assert [path.name for path in paths] == [FIRST, SECOND, THIRD, VAL]
    assert train_and_val(run.folder) == (paths[:-1], paths[-1:])
    assert origin.log[0][0] == VAL, "the validation shard comes first, so no half of a folder has another one"
    assert len(origin.log) == 4 and run.waited == run.said == []


def test_the_validation_set_does_not_depend_on_how_many_shards_there_are(run, origin):
    run(1)
    few = list(documents(train_and_val(run.folder)[1]))
    run(5)
    assert list(documents(train_and_val(run.folder)[1])) == few
    assert [name for name, _, _ in origin.log].count(VAL) == 1


def test_progress_is_reported_up_to_the_whole_length(run, origin):
    run(2)
    for name in (VAL, FIRST, SECOND):
        reports = [(held, total) for one, held, total in run.reports if one == name]
        size = len(origin.files[name])
        assert reports == sorted(reports) and reports[-1] == (size, size)
        assert {total for _, total in reports} == {size}


def test_what_is_there_and_whole_is_not_fetched_again(run, origin):
    run(2)
    before, origin.log = {path: path.stat().st_mtime_ns for path in run.folder.glob("*.parquet")}, []
    run.reports.clear()
    run(2)
    assert origin.log == [] and {path: path.stat().st_mtime_ns for path in before} == before
    assert sorted(run.reports) == sorted(
        (name, len(body), len(body)) for name, body in origin.files.items() if name in (FIRST, SECOND, VAL)
    )


def test_what_is_there_and_broken_is_set_aside_and_fetched_again(run, origin):
    run(1)
    for junk in (b"junk", b"more junk"):
        (run.folder / FIRST).write_bytes(junk)
        run(1)
    assert run.names() == [FIRST, f"{FIRST}.broken", f"{FIRST}.broken1", VAL]
    assert (run.folder / f"{FIRST}.broken").read_bytes() == b"junk"
    assert (run.folder / f"{FIRST}.broken1").read_bytes() == b"more junk"
    assert (run.folder / FIRST).read_bytes() == origin.files[FIRST]
    (run.folder / VAL).write_bytes(b"")
    run(1)
    assert (run.folder / VAL).read_bytes() == origin.files[VAL]
    assert len(train_and_val(run.folder)[0]) == 1


def test_a_broken_validation_shard_does_not_make_the_folder_a_stranger(run, origin):
    run(1)
    (run.folder / VAL).write_bytes(b"junk")
    origin.plan = {VAL: [("status", 404)]}
    with pytest.raises(ConnectionError, match="404"):
        run(1)
    run(1)
    assert run.names() == [FIRST, VAL, f"{VAL}.broken"]


def test_a_server_that_keeps_the_connection_open_is_not_waited_for(run, origin):
    origin.plan = {VAL: [("linger", None)]}
    run(1, timeout=0.5)
    assert run.said == [], "the length was said: nothing is to be waited for"


def test_a_request_that_is_sent_elsewhere_keeps_its_range(run, origin):
    """As Hugging Face does, which sends every request for a shard on to a storage service."""
    origin.elsewhere, origin.plan = True, {FIRST: [("drop", 1000)]}
    run(1)
    run.check(FIRST, VAL)
    assert origin.requests(FIRST) == [(None, 200), ("bytes=1000-", 206)]
    assert len(origin.requests("redirect")) == 3


# -- when the connection breaks -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["drop", "reset"])
def test_a_broken_connection_is_taken_up_where_it_ended(run, origin, how):
    origin.plan = {FIRST: [(how, 1000), (how, 2000)]}
    run(1)
    run.check(FIRST, VAL)
    asked = [one and int(one[6:-1]) for one, _ in origin.requests(FIRST)]
    assert [status for _, status in origin.requests(FIRST)] == [200, 206, 206]
    if how == "drop":  # a reset may take bytes with it that had arrived
        assert asked == [None, 1000, 3000]
        assert "the connection ended after 1,000 of" in run.said[0] and "next attempt in 1 s" in run.said[0]


def test_waiting_doubles_and_begins_anew_after_progress(run, origin):
    origin.plan = {
        FIRST: [
            ("status", 500),
            ("status", 503),
            ("drop", 100),
            ("status", 502),
            ("drop", 100),
            ("status", 429),
        ]
    }
    run(1)
    assert run.waited == [1, 2, 1, 2, 1, 2]
    assert [status for _, status in origin.requests(FIRST)] == [500, 503, 200, 502, 206, 429, 206]
    run.check(FIRST, VAL)


def test_after_enough_failures_in_a_row_the_shard_is_given_up(run, origin):
    origin.plan = {FIRST: [("drop", 100)] + [("status", 500)] * 99}
    with pytest.raises(
        ConnectionError, match=rf"{FIRST} \(the server answered 500 .*\) could not be fetched"
    ):
        run(1)
    assert run.waited == [1, 2, 4, 8] and len(origin.requests(FIRST)) == 5
    assert run.names() == [f"{FIRST}.partial", f"{FIRST}.partial.etag", VAL]
    origin.plan, run.waited = {}, []
    run(1)
    run.check(FIRST, VAL)
    assert origin.requests(FIRST)[-1] == ("bytes=100-", 206), "the next run goes on where this one stopped"


def test_attempts_can_be_set(run, origin):
    origin.plan = {VAL: [("status", 500)] * 99}
    with pytest.raises(ConnectionError, match="500"):
        run(1, attempts=2)
    assert run.waited == [1]


def test_a_silent_server_is_given_up_after_the_time_out(run, origin):
    origin.plan = {FIRST: [("stall", 100)]}
    run(1, timeout=0.2)
    run.check(FIRST, VAL)
    assert "the connection broke: timed out" in run.said[0]
    assert origin.requests(FIRST)[1] == ("bytes=100-", 206)


@pytest.mark.parametrize("amount", [1, 5000])
def test_a_length_that_promises_too_much_is_a_failure(run, origin, amount):
    origin.plan = {FIRST: [("lie", amount)]}
    size = len(origin.files[FIRST])
    run(1)
    run.check(FIRST, VAL)
    assert f"the connection ended after {size:,} of {size + amount:,} bytes" in run.said[0]
    assert origin.requests(FIRST) == [(None, 200), (f"bytes={size}-", 416)], "nothing was missing after all"


def test_a_length_that_promises_too_little_is_noticed_by_the_footer(run, origin):
    origin.plan = {FIRST: [("lie", -500)]}
    run(1)
    run.check(FIRST, VAL)
    assert "what came is no shard of documents" in run.said[0]
    assert [status for _, status in origin.requests(FIRST)] == [200, 200]


@pytest.mark.parametrize("what", ["no length", "nonsense"])
@pytest.mark.parametrize("cut", [None, -500])
def test_without_a_length_the_footer_decides(run, origin, what, cut):
    origin.plan = {FIRST: [(what, cut)]}
    run(1)
    run.check(FIRST, VAL)
    assert len(origin.requests(FIRST)) == (2 if cut else 1)


def test_a_server_that_ignores_range_costs_time_and_not_the_file(run, origin):
    origin.ranges, origin.plan = False, {FIRST: [("drop", 3000), ("drop", 2000)]}
    run(1)
    run.check(FIRST, VAL)
    assert origin.requests(FIRST) == [(None, 200), ("bytes=3000-", 200), ("bytes=2000-", 200)]
    assert run.waited == [1, 2] and "3,000 of" in run.said[0] and "2,000 of" in run.said[1]


@pytest.mark.parametrize("tags", ["etag", "date"])
def test_a_file_that_changes_between_attempts_is_begun_again(run, origin, tags):
    origin.tags, origin.plan = tags, {FIRST: [("drop", 3000)]}
    run.meanwhile = lambda: origin.files.update({FIRST: parquet("another", 250)})
    run(1)
    run.check(FIRST, VAL)
    assert origin.requests(FIRST) == [(None, 200), ("bytes=3000-", 200)]


def test_a_server_that_forgets_to_compare_versions_is_found_out(run, origin):
    origin.plan = {FIRST: [("drop", 3000), ("forget", None)]}
    run.meanwhile = lambda: origin.files.update({FIRST: parquet("another", 250)})
    run(1)
    run.check(FIRST, VAL)
    assert [status for _, status in origin.requests(FIRST)] == [200, 206, 200]
    assert "has changed on the server" in run.said[1]


def test_a_file_that_has_become_shorter_is_begun_again(run, origin):
    origin.plan = {FIRST: [("drop", 3000), ("forget", None)]}
    run.meanwhile = lambda: origin.files.update({FIRST: parquet("another", 20)})
    run(1)
    run.check(FIRST, VAL)
    assert [status for _, status in origin.requests(FIRST)] == [200, 416, 200]


def test_a_whole_file_of_the_same_length_but_another_version_is_begun_again(run, origin):
    origin.plan = {FIRST: [("lie", 100), ("forget", None)]}
    size = len(origin.files[FIRST])
    run.meanwhile = lambda: origin.files.update({FIRST: parquet("S0")})
    run(1)
    assert len(origin.files[FIRST]) == size
    run.check(FIRST, VAL)
    assert origin.requests(FIRST) == [(None, 200), (f"bytes={size}-", 416), (None, 200)]


@pytest.mark.parametrize("tags", ["weak", "none"])
def test_without_a_validator_nothing_is_resumed(run, origin, tags):
    origin.tags, origin.plan = tags, {FIRST: [("drop", 3000)]}
    run(1)
    run.check(FIRST, VAL)
    assert origin.requests(FIRST) == [(None, 200), (None, 200)]


@pytest.mark.parametrize("stamp", [b"", b"\x00\x00\x00", b"\xff\xfe", b'"a"\r\nX: y'])
def test_a_partial_file_of_unknown_origin_is_begun_again(run, origin, stamp):
    run.folder.mkdir(parents=True)
    (run.folder / f"{VAL}.partial").write_bytes(b"left over")
    (run.folder / f"{VAL}.partial.etag").write_bytes(stamp)
    run(1)
    run.check(FIRST, VAL)
    assert origin.requests(VAL) == [(None, 200)]


# -- when a shard cannot be had -------------------------------------------------------------------


def test_a_shard_that_the_server_does_not_have_is_not_asked_for_again(run, origin):
    del origin.files[VAL]
    with pytest.raises(ConnectionError) as caught:
        run(2)
    expected = f"{VAL} (the server answered 404 Not Found) could not be fetched from {origin.url}: "
    assert str(caught.value).startswith(expected) and str(run.folder) in str(caught.value)
    assert run.waited == [] and len(origin.log) == 1


def test_one_failing_shard_does_not_stop_the_others(run, origin):
    del origin.files[SECOND]
    origin.plan = {THIRD: [("status", 500)] * 99}
    with pytest.raises(ConnectionError) as caught:
        run(4)
    assert re.match(
        rf"{SECOND} \(the server answered 404 Not Found\), {THIRD} \(the server answered 500 [\w ]+\) could not "
        rf"be fetched from .*: what has come is kept in .*, and the same command goes on where it stopped$",
        str(caught.value),
    )
    run.check(FIRST, "shard_00003.parquet", VAL)


@pytest.mark.parametrize("body", [b"<html>log in first</html>", b"", parquet("x", column="words")])
def test_what_is_no_shard_never_gets_its_name(run, origin, body):
    good, origin.files[FIRST] = origin.files[FIRST], body
    with pytest.raises(ConnectionError, match=rf"{FIRST} \(what came is no shard of documents: "):
        run(1)
    assert len(run.waited) == 4
    run.check(VAL)
    origin.files[FIRST] = good
    run(1)
    run.check(FIRST, VAL)


def test_without_a_network_there_is_one_sentence(run):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(
            ConnectionError, match=rf"{VAL} \(no connection: .*refused.*\) could not be fetched from {url}: "
        ):
            run(1, base_url=url)
    assert run.waited == [1, 2, 4, 8] and run.names() == []


def test_an_address_that_is_none_is_one_sentence(run):
    with pytest.raises(ValueError, match="base_url must begin with http:// or https://, got 'ftp://x'"):
        run(1, base_url="ftp://x")
    with pytest.raises(ConnectionError, match="no connection"):
        run(1, base_url="http://")


def test_a_full_disk_is_said(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._Partial, "begin", full)
    with pytest.raises(
        ConnectionError, match=rf"{VAL} \(\[Errno 28\] No space left on device\) could not be fetched"
    ):
        run(1)
    assert run.waited == [], "waiting makes no room"


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 6}, {"workers": 0}, {"attempts": 0}])
def test_numbers_that_cannot_work_are_refused(run, options):
    with pytest.raises(
        ValueError, match=r"shards must be between 1 and 5, workers and attempts at least 1, got"
    ):
        run(**options)
    assert not run.folder.exists()


def test_a_folder_with_another_data_set_is_left_alone(run, origin):
    run.folder.mkdir(parents=True)
    (run.folder / FIRST).write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=rf"holds shards, but not {VAL}, .* so give another folder"):
        run(2)
    assert (run.folder / FIRST).read_bytes() == b"precious" and origin.log == []


def test_a_long_list_of_missing_shards_is_cut_short(run, origin, tmp_path):
    many = Dataset(base_url=origin.url, last=8, megabytes=1)
    origin.files = {"shard_00008.parquet": origin.files[VAL]}
    with pytest.raises(
        ConnectionError, match=r"shard_00004.parquet \([^)]*\) and 3 more could not be fetched"
    ):
        module.download(many, 8, tmp_path)


# -- when it is stopped, or not alone -------------------------------------------------------------


def test_ctrl_c_stops_all_shards_and_the_next_run_goes_on(run, origin, monkeypatch):
    origin.plan = {FIRST: [("stall", 1000)], SECOND: [("trickle", 1000)]}
    under_way = threading.Semaphore(0)

    def pressed(*_, **__):
        assert under_way.acquire(timeout=5) and under_way.acquire(timeout=5)
        (run.folder / THIRD).write_bytes(b"not looked at")
        raise KeyboardInterrupt

    def report(name, held, _):
        if name != VAL and held == 1000:
            under_way.release()

    monkeypatch.setattr(module, "wait", pressed)
    with pytest.raises(KeyboardInterrupt):
        run(3, workers=2, timeout=0.3, on_progress=report)
    assert run.waited == run.said == [], "there is no next attempt"
    assert origin.requests(THIRD) == [], "what had not begun does not begin"
    halves = [f"{name}.partial{end}" for name in (FIRST, SECOND) for end in ("", ".etag")]
    assert run.names() == sorted([*halves, THIRD, VAL])
    (run.folder / THIRD).unlink()
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    run(3)
    run.check(FIRST, SECOND, THIRD, VAL)
    assert origin.requests(FIRST)[1] == ("bytes=1000-", 206)


def test_ctrl_c_during_the_first_shard_keeps_what_came(run, origin):
    def pressed(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(1, on_progress=pressed)
    assert run.names() == [f"{VAL}.partial", f"{VAL}.partial.etag"]
    run(1)
    run.check(FIRST, VAL)
    assert origin.requests(VAL)[1][0] is not None


def test_a_bug_in_the_caller_is_not_taken_for_a_network(run):
    def report(name, *_):
        if name != VAL:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(2, on_progress=report)


def test_two_downloads_into_one_folder_are_refused(run):
    refused = []

    def report(*_):
        if not refused:
            with pytest.raises(
                BlockingIOError, match=r"because another process downloads into it: wait for that"
            ):
                module.download(SMALL, 1, run.folder, base_url=run.origin.url)
            refused.append(True)

    run(1, on_progress=report)
    assert refused
    run.check(FIRST, VAL)


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
def test_a_killed_process_holds_no_lock(run):
    run.folder.mkdir(parents=True)
    code = "import sys, time\nfrom pathlib import Path\nfrom mini_nanochat.data import download\n"
    code += "with download._alone(Path(sys.argv[1])):\n    print('locked', flush=True)\n    time.sleep(60)\n"
    root = Path(mini_nanochat.flags.__file__).parents[1]
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run.folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    with other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(BlockingIOError):
            run(1)
        other.send_signal(signal.SIGKILL)
    run(1)
    run.check(FIRST, VAL)


# -- the program ----------------------------------------------------------------------------------


def program(*arguments):
    """Runs the program in this process; its exit code."""
    return mini_nanochat.flags.run(data.Config, data.main, arguments, prog="mini-nanochat data")


def test_the_program_fetches_and_adds_to_what_it_has(origin, tmp_path, capsys):
    origin.files["shard_01822.parquet"] = parquet("val", 77)
    options = ("--name", "fineweb-edu", "--base-url", origin.url, "--out", str(tmp_path / "web"))
    assert program(*options, "--shards", "2") == 0
    shown = capsys.readouterr().out
    assert "about 0.3 GB" in shown and "is ready" in shown and "a larger --shards" not in shown
    assert re.search(r"train +2 +400 ", shown) and re.search(r"val +1 +77 ", shown)
    assert program(*options, "--shards", "4") == 0
    assert re.search(r"train +4 +800 ", capsys.readouterr().out)
    assert len(origin.log) == 5


def test_the_program_says_in_one_sentence_what_is_missing(origin, tmp_path, capsys):
    options = ("--name", "fineweb-edu", "--base-url", origin.url, "--out", str(tmp_path / "web"))
    assert program(*options) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "shard_01822.parquet (the server answered 404" in captured.err


def test_the_bar_ends_where_the_bytes_do():
    bar = data.Bar(3, 100)
    for report in (
        ("a", 10, 50),
        ("b", 5, None),
        ("a", 50, 50),
        ("b", 20, 30),
        ("b", 0, 30),
        ("b", 30, 30),
        ("c", 40, 40),
    ):
        bar.progress(*report)
    assert bar.bar.total == 120 and sum(bar.held.values()) == 120
    bar.bar.close()


def test_the_published_data_set_is_the_one_of_nanochat():
    """nanochat/dataset.py of 2025: base URL, and MAX_SHARD = 1822."""
    fineweb = DATASETS["fineweb-edu"]
    assert fineweb.last == 1822 and module.shard_name(fineweb.last) == "shard_01822.parquet"
    assert (
        fineweb.base_url == "https://huggingface.co/datasets/karpathy/fineweb-edu-100b-shuffle/resolve/main/"
    )
