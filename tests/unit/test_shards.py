"""shards: documents go to disk and come back, and what is wrong with a file is said in one sentence."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import stat
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mini_nanochat.flags
from mini_nanochat import corpus
from mini_nanochat.data import shards
from mini_nanochat.data.shards import RowGroup, documents, read_group, read_own, row_groups, train_and_val
from mini_nanochat.data.shards import write_shards as write
from mini_nanochat.microworld import write as microworld
from mini_nanochat.scripts import data, tok_train

TEXTS = [f"document {i}: {'word ' * (i % 7)}" for i in range(300)]


def parquet(path, row_group=2, **columns):
    """A parquet file with these columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=row_group)
    return path


@pytest.fixture
def pair(tmp_path):
    """A folder with two shards of three documents each."""
    parquet(tmp_path / "shard_00000.parquet", text=["a", "b", "c"])
    parquet(tmp_path / "shard_00001.parquet", text=["d", "e", "f"])
    return tmp_path


def sides(folder):
    """The texts of a folder: (training, validation)."""
    train, val = train_and_val(folder)
    return list(documents(train)), list(documents(val))


def spoil(path, start, stop):
    """Turns all bits of a stretch of a file."""
    raw = bytearray(path.read_bytes())
    raw[start:stop] = bytes(255 - byte for byte in raw[start:stop])
    path.write_bytes(raw)


# -- which shards there are -----------------------------------------------------------------------


def test_the_last_shard_by_name_is_the_validation_set(tmp_path):
    for i in (10, 9, 0, 1822):
        parquet(tmp_path / f"shard_{i:05d}.parquet", text=["x"])
    train, val = train_and_val(tmp_path)
    assert [path.name[6:11] for path in train] == ["00000", "00009", "00010"]
    assert [path.name for path in val] == ["shard_01822.parquet"]
    assert train_and_val(str(tmp_path)) == (train, val)


def test_hidden_and_partial_files_are_no_shards(pair):
    before = train_and_val(pair)
    for name in (
        "shard_00009.parquet.partial",
        "._shard_00000.parquet",
        ".download.lock",
        "shard_00000.parquet.broken",
    ):
        (pair / name).write_bytes(b"")
    assert train_and_val(pair) == before


def test_folders_without_a_training_and_a_validation_shard_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere is no folder: give one that `mini-nanochat data`"):
        train_and_val(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no shards .* write some with `mini-nanochat data`"):
        train_and_val(tmp_path)
    parquet(tmp_path / "shard_00000.parquet", text=["a"])
    with pytest.raises(
        ValueError, match=r"one shard only, shard_00000.parquet.* val would be train: fetch or write"
    ):
        train_and_val(tmp_path)


@pytest.mark.parametrize("name", ["shard_1.parquet", "train.parquet", "shard_000001.parquet"])
def test_a_name_that_leaves_its_place_open_is_refused(pair, name):
    parquet(pair / name, text=["a"])
    with pytest.raises(
        ValueError, match=rf"{name} is not named like shard_00000.parquet: rename it, or move it"
    ):
        train_and_val(pair)


# -- row groups -----------------------------------------------------------------------------------


def test_row_groups_are_listed_in_order_and_read_one_at_a_time(pair):
    first, second = pair / "shard_00000.parquet", pair / "shard_00001.parquet"
    groups = row_groups([first, second])
    assert groups == [
        RowGroup(first, 0, 2),
        RowGroup(first, 1, 1),
        RowGroup(second, 0, 2),
        RowGroup(second, 1, 1),
    ]
    assert [read_group(group) for group in groups] == [["a", "b"], ["c"], ["d", "e"], ["f"]]
    assert list(documents([second, first])) == ["d", "e", "f", "a", "b", "c"]


def test_empty_row_groups_are_left_out(tmp_path):
    path = tmp_path / "shard_00000.parquet"
    table = pa.table({"text": ["a"]})
    with pq.ParquetWriter(path, table.schema) as writer:
        for one in (table, table.slice(0, 0), table):
            writer.write_table(one)
    groups = row_groups([path])
    assert [group.rows for group in groups] == [1, 1]
    assert [read_group(group) for group in groups] == [["a"], ["a"]]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_any_kind_of_string_column_will_do(tmp_path, kind):
    path = parquet(tmp_path / "a.parquet", text=pa.array(["ä", "", "ä"]).cast(kind), other=[1, 2, 3])
    assert list(documents([path])) == ["ä", "", "ä"]


def broken(path, how):
    """Makes a shard useless in one of several ways."""
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[:-20])
    elif how == "a web page":
        path.write_text("<html>log in first</html>")
    elif how == "footer":
        spoil(path, -60, -12)
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    else:
        parquet(path, **how)


@pytest.mark.parametrize(
    "how, sentence",
    [
        ("empty", "is no whole parquet file: fetch or write it again"),
        ("cut short", "is no whole parquet file: fetch or write it again"),
        ("a web page", "is no whole parquet file: fetch or write it again"),
        ("footer", "is no whole parquet file: fetch or write it again"),
        ({"words": ["a"], "n": [1]}, "has the columns words, n, and needs one named text: rename the one"),
        ({"text": [1, 2]}, "column text holds int64, not strings: write it again as strings"),
        ({"text": [b"a"]}, "column text holds binary, not strings"),
        ({"text": [["a"]]}, "has the columns text, and needs one"),
        ({"text": pa.array([], pa.string())}, "holds no documents: remove it, or write it again"),
    ],
)
def test_a_shard_that_cannot_serve_is_refused_by_its_footer(pair, how, sentence):
    bad = pair / "shard_00001.parquet"
    broken(bad, how)
    with pytest.raises(ValueError, match=sentence) as caught:
        row_groups([pair / "shard_00000.parquet", bad])
    assert str(bad) in str(caught.value)


def test_a_shard_that_is_not_there_is_named(pair):
    with pytest.raises(FileNotFoundError, match=r"gone.parquet is not there: fetch or write it again"):
        row_groups([pair / "gone.parquet"])
    broken(pair / "shard_00000.parquet", "a folder")
    with pytest.raises(FileNotFoundError, match="is not there"):
        row_groups([pair / "shard_00000.parquet"])


def test_a_shard_that_may_not_be_read_is_not_called_damaged(pair):
    with (
        mock.patch.object(pq, "ParquetFile", side_effect=PermissionError(13, "Permission denied")),
        pytest.raises(PermissionError, match="Permission denied"),
    ):
        row_groups([pair / "shard_00000.parquet"])


def test_two_columns_of_that_name_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(ValueError, match=r"has the columns text, text, and needs one named text"):
        row_groups([path])


def test_a_null_is_refused_with_its_row(tmp_path):
    path = parquet(tmp_path / "a.parquet", row_group=10, text=["a", "b", None, None])
    with pytest.raises(ValueError, match=r"row 2 of row group 0 is null, not a text: write it again without"):
        read_group(*row_groups([path]))


def test_damage_in_the_pages_is_noticed_by_the_checksum(tmp_path):
    write(TEXTS, tmp_path / "out")
    path = tmp_path / "out" / "shard_00000.parquet"
    size = path.stat().st_size
    rng = random.Random(0)
    whole = path.read_bytes()
    for _ in range(20):  # one bit, anywhere among the compressed pages
        raw = bytearray(whole)
        raw[rng.randrange(60, size // 2)] ^= 1 << rng.randrange(8)
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=r"is damaged, row group 0: get it again"):
            list(documents([path]))


def test_bytes_that_are_no_utf8_are_damage(tmp_path):
    path = parquet(tmp_path / "a.parquet", text=["eins", "zwei"])
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"zwei", b"zw\xffi"))
    with pytest.raises(ValueError, match="is damaged, row group 0"):
        list(documents([path]))


def test_a_shard_that_has_changed_since_is_noticed(pair):
    path = pair / "shard_00000.parquet"
    first, second = row_groups([path])
    parquet(path, text=["a"])
    with pytest.raises(
        ValueError, match=r"has changed while it was in use, row group 0 from 2 to 1 rows: begin again"
    ):
        read_group(first)
    with pytest.raises(ValueError, match="row group 1 from 1 to 0 rows"):
        read_group(second)
    parquet(path, row_group=5, text=["a", "b", "c"])
    with pytest.raises(ValueError, match="row group 0 from 2 to 3 rows"):
        read_group(first)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is not there"):
        read_group(first)


def test_a_microworld_is_such_a_folder(tmp_path):
    made, _ = microworld.write(tmp_path / "town", megabytes=0.06, seed=1, shards=2, row_group=64)
    train, val = sides(tmp_path / "town" / "documents")
    first, second, last = ([text for _, text in part] for part in made.shards.values())
    assert train == first + second and val == last
    assert not set(train) & set(val)


# -- writing --------------------------------------------------------------------------------------


@given(
    texts=st.lists(st.text(max_size=20), max_size=30),
    characters=st.integers(1, 100),
    row_group=st.integers(1, 5),
    val_share=st.floats(0.01, 0.99),
)
@example(["a", "b"], 1, 1, 1e-9)  # no hash below the share: the smallest is taken
@example(["a", "b"], 1, 1, 1 - 1e-9)  # all hashes below: the largest stays for training
@example(["a", "b", "c", "a", "b", "c", "a"], 2, 2, 1e-9)  # copies change sides together
@example(["b", "a", "c", "b", "a", "c"], 2, 2, 1 - 1e-9)
@example(["\x00", "\ufeff", "\U0010ffff"], 1, 1, 0.5)
@settings(deadline=None, max_examples=60)
def test_what_is_written_comes_back_and_no_text_is_on_both_sides(texts, characters, row_group, val_share):
    kept = [text for text in texts if text.strip()]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = {"characters": characters, "row_group": row_group, "val_share": val_share}
        if len(set(kept)) < 2:
            with pytest.raises(
                ValueError, match=rf"^{len(texts)} documents came, and of the {len(kept)} that"
            ):
                write(iter(texts), out, **options)
            assert os.listdir(folder) == []
            return
        counts = write(iter(texts), out, **options)
        train, val = sides(out)
        assert Counter(train) + Counter(val) == Counter(kept)
        assert train and val and not set(train) & set(val)
        assert counts == (len(train), len(val), len(texts) - len(kept))
        *full, last = train_and_val(out)[0]
        for path in full:
            some = list(documents([path]))
            assert sum(map(len, some)) >= characters > sum(map(len, some[:-1]))
        assert all(group.rows <= row_group for group in row_groups([*full, last, *train_and_val(out)[1]]))


def test_the_hash_of_a_text_decides_its_side_whatever_comes_with_it(tmp_path):
    write(TEXTS, tmp_path / "all", val_share=0.2)
    write(reversed(TEXTS[:150]), tmp_path / "half", val_share=0.2)
    train, val = sides(tmp_path / "all")
    assert 30 <= len(val) <= 90, "300 draws at .2: 60, with a standard deviation of 7"
    ordered = [text for text in TEXTS if text not in val]
    assert train[20:] == ordered[20:], "once there is something to validate, documents keep their order"
    assert set(sides(tmp_path / "half")[1]) == set(val) & set(TEXTS[:150])


def test_without_a_hash_below_the_share_the_smallest_is_validation(tmp_path):
    write(TEXTS[:20], tmp_path / "a", val_share=1e-9)
    write(reversed(TEXTS[:20] * 2), tmp_path / "b", val_share=1e-9)
    (alone,) = sides(tmp_path / "a")[1]
    assert sides(tmp_path / "b")[1] == [alone, alone]
    for share in (0.5, 0.1, 0.01):
        write(TEXTS[:20], tmp_path / str(share), val_share=share)
        assert alone in sides(tmp_path / str(share))[1], "it is the first to be drawn, at any share"


def test_the_same_documents_make_the_same_bytes(tmp_path):
    for name in "ab":
        write(TEXTS, tmp_path / name, characters=1000)
    made = {name: [path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in "ab"}
    assert made["a"] == made["b"] and len(made["a"]) > 5


def test_a_shard_is_as_the_format_says(tmp_path):
    write((f"document {i}" for i in range(3000)), tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["shard_00000.parquet", "shard_00001.parquet"]
    meta = pq.ParquetFile(tmp_path / "out" / "shard_00000.parquet").metadata
    assert [meta.row_group(i).num_rows for i in range(2)] == [1024, 1024] and meta.num_row_groups == 3
    assert meta.schema.names == ["text"] and meta.row_group(0).column(0).compression == "ZSTD"
    if os.name != "nt":
        usual = tmp_path / "usual"
        usual.mkdir()
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_writing_holds_no_more_than_row_groups(tmp_path):
    """The generator keeps no document; how many are alive tells what the writer keeps."""
    alive = most = 0

    class Text(str):
        def __init__(self, _):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    write((Text(f"document {i}") for i in range(2000)), tmp_path / "out", row_group=16)
    assert most <= 2 * 16 + 4


def test_nothing_is_overwritten(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for taken in (out, out / "thesis.txt", link):
        with pytest.raises(
            FileExistsError, match=r"is there and is not empty: give another folder, or remove"
        ):
            write(TEXTS, taken)
    assert (out / "thesis.txt").read_text() == "precious" and link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out"]
    (tmp_path / "new").mkdir()
    write(TEXTS, tmp_path / "new")
    assert len(sides(tmp_path / "new")[0]) > 200


def failing(error):
    """A hundred documents, and then an error."""
    yield from TEXTS[:100]
    raise error


@pytest.mark.parametrize("error", [OSError("the disk is on fire"), KeyboardInterrupt(), RuntimeError("bug")])
def test_documents_that_fail_leave_nothing_behind(tmp_path, error):
    with pytest.raises(type(error)):
        write(failing(error), tmp_path / "out", row_group=8)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with pytest.raises(type(error)):
        write(failing(error), tmp_path / "out", row_group=8)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    write(TEXTS, tmp_path / "out")


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    with (
        mock.patch.object(pq.ParquetWriter, "write_table", side_effect=OSError("no space left")),
        pytest.raises(OSError, match="no space"),
    ):
        write(TEXTS, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    left = tmp_path / f".out.{os.getpid()}.partial"
    left.mkdir()
    (left / "shard_00007.parquet").write_bytes(b"half")
    write(TEXTS, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(train_and_val(tmp_path / "out")[0]) == 1


@pytest.mark.parametrize(
    "document, error, sentence",
    [
        (b"bytes", TypeError, r"document 3 is a bytes, not a str: decode or convert it first"),
        (None, TypeError, r"document 3 is a NoneType, not a str"),
        (
            "ab\ud83dc",
            ValueError,
            r"document 3 holds half of a character, U\+D83D at position 2, which UTF-8",
        ),
    ],
)
def test_a_document_that_is_no_text_is_named_by_its_number(tmp_path, document, error, sentence):
    with pytest.raises(error, match=sentence):
        write(["a", "b", document], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "setting",
    [{"characters": 0}, {"row_group": 0}, {"row_group": 1025}, {"val_share": 0.0}, {"val_share": 1.0}],
)
def test_settings_that_cannot_work_are_refused(tmp_path, setting):
    with pytest.raises(ValueError, match=rf"must be at least 1, .* got .*{next(iter(setting.values()))}"):
        write(TEXTS, tmp_path / "out", **setting)
    assert list(tmp_path.iterdir()) == []


def test_more_shards_than_names_are_refused():
    assert shards.shard_name(99_999) == "shard_99999.parquet"
    with pytest.raises(ValueError, match="put more characters into each"):
        shards.shard_name(100_000)


# -- files of one's own ---------------------------------------------------------------------------


def test_files_of_all_kinds_are_read_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_text("first\n", "utf-8")
    (tmp_path / "c.MD").write_text("second", "utf-8")
    (tmp_path / "d.jsonl").write_text('{"text": "third", "n": 1}\n\n{"text": "zwölf\\u2028"}', "utf-8")
    parquet(tmp_path / "e.parquet", text=["fifth", "sixth"])
    (tmp_path / "empty.rst").write_text("")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    for hidden in (".venv/note.txt", "b/.note.txt"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"\xff")
    everything = ["first\n", "second", "third", "zwölf\u2028", "fifth", "sixth", ""]
    assert list(read_own([tmp_path])) == everything
    assert list(read_own([tmp_path / "e.parquet", str(tmp_path / "b")])) == ["fifth", "sixth", "first\n"]


def test_a_text_file_has_its_line_ends_and_no_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "x"}\r\n')
    assert list(read_own([tmp_path])) == ["one\ntwo\nthree\n", "x"]


@given(st.text(alphabet="ab \n\tä日\U0001f600", max_size=300), st.integers(1, 12), st.integers(1, 40))
@example("\n\n\n\nabc", 3, 1)
@example("word\n\n" * 20, 12, 5)
@settings(deadline=None)
def test_a_long_text_file_is_cut_and_loses_nothing(text, size, piece):
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(shards, DOCUMENT_CHARACTERS=size, PIECE=piece),
    ):
        path = Path(folder, "a.txt")
        path.write_bytes(text.encode())
        cut = list(read_own([path]))
    assert "".join(cut) == text
    assert all(0 < len(one) <= size for one in cut) or cut == [""]


def test_a_cut_is_at_a_blank_line_or_else_at_white_space_or_else_anywhere(tmp_path):
    paragraph = "word " * 1000 + "\n\n"  # 5,002 characters
    for name, text, lengths in (
        ("short", "x\n\n" * 3000, [9000]),
        ("book", paragraph * 4, [5002, 5002, 5002, 5002]),
        ("small paragraphs", "12345678\n\n" * 2500, [10_000, 10_000, 5_000]),
        ("lines", ("x" * 99 + "\n") * 101, [10_000, 100]),
        ("words", "seven a" * 2000, [9_995, 4_005]),
        ("no spaces", "日" * 25_000, [10_000, 10_000, 5_000]),
    ):
        path = tmp_path / f"{name}.txt"
        path.write_bytes(text.encode())
        assert list(map(len, read_own([path]))) == lengths, name


def test_one_long_line_is_read_in_reasonable_time(tmp_path):
    path = tmp_path / "line.txt"
    path.write_bytes(b"lorem ipsum " * 400_000)  # 4.8 MB; time grows with the length, not with its square
    lengths = [len(one) for one in read_own([path])]
    assert sum(lengths) == 4_800_000 and max(lengths) <= 10_000


def test_text_that_is_not_utf8_is_refused_with_the_sentence_of_the_corpus(tmp_path):
    for name, raw in (
        ("a", b"M\xfcller"),
        ("b", b"x" * 200_000 + b"\xff" + b"y" * 70_000),
        ("c", b"ab\xc3"),
    ):
        path = tmp_path / f"{name}.txt"
        path.write_bytes(raw)
        with pytest.raises(ValueError) as expected:
            corpus.read_documents(path)
        with pytest.raises(ValueError, match=f"^{re.escape(str(expected.value))}$"):
            list(read_own([path]))
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "\xe9"}\n')
    with pytest.raises(
        ValueError, match=r"d.jsonl, line 2 is not UTF-8 text: byte 0xe9 at position 10. Save it"
    ):
        list(read_own([path]))


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("text: hello", r"a.jsonl, line 3 is not JSON \(Expecting value.*\): each line must be"),
        ('{"text": ', r"line 3 is not JSON"),
        ("1" * 5000, r"line 3 (is not JSON|has no string)"),
        (
            '{"content": "b"}',
            r"line 3 has no string in a field \"text\" \(\{\"content\": \"b\"\}\): each line",
        ),
        ('{"text": 7}', r"line 3 has no string in a field \"text\" \(\{\"text\": 7\}\)"),
        ('{"text": null}', r"line 3 has no string"),
        ('["text"]', r"line 3 has no string"),
        ('{"text": "\\ud83d"}', r"a.jsonl, line 3 holds half of a character, U\+D83D at position 0"),
    ],
)
def test_a_line_that_holds_no_document_is_refused_with_its_number(tmp_path, line, sentence):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "a"}) + "\n\n" + line + "\n", "utf-8")
    reading = read_own([path])
    assert next(reading) == "a"
    with pytest.raises(ValueError, match=sentence) as caught:
        next(reading)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_paths_that_cannot_be_read_are_refused(tmp_path):
    kinds = r".txt, .md, .rst, .py, .jsonl, .parquet"
    with pytest.raises(
        FileNotFoundError, match=rf"nowhere does not exist: give a file \({kinds}\), or a folder"
    ):
        list(read_own([tmp_path / "nowhere"]))
    with pytest.raises(FileNotFoundError, match=rf"holds no files to read \({kinds}\)"):
        list(read_own([tmp_path]))
    (tmp_path / "book.pdf").write_bytes(b"%PDF")
    with pytest.raises(
        ValueError, match=rf"book.pdf is of a kind that is not read here: give one of {kinds}"
    ):
        list(read_own([tmp_path / "book.pdf"]))
    with pytest.raises(ValueError, match="needs one named text"):
        list(read_own([parquet(tmp_path / "a.parquet", words=["a"])]))


# -- the program ----------------------------------------------------------------------------------


def program(*arguments):
    """Runs the program in this process; its exit code."""
    return mini_nanochat.flags.run(data.Config, data.main, arguments, prog="mini-nanochat data")


def test_the_program_makes_a_data_set_of_own_texts(tmp_path, capsys):
    own, out = tmp_path / "my texts", tmp_path / "runs" / "mine"
    own.mkdir()
    (own / "book.txt").write_text("It was a dark night.\n\n" * 3000, "utf-8")
    (own / "empty.txt").write_text(" \n")
    (own / "more.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    assert program("--own", str(own), "--out", str(out), "--val-share", "0.2") == 0
    shown = capsys.readouterr().out
    train, val = sides(out)
    for side in (train, val):
        assert f"{len(side):,}" in shown and f"{sum(map(len, side)):,}" in shown
    assert "Empty documents left out: 1" in shown and "is ready" in shown
    assert "".join(text for text in train + val if "dark" in text).count("night") == 3000
    assert program("--own", str(own), "--out", str(out)) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "is there and is not empty" in captured.err


def test_what_the_program_says_to_do_next_is_a_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my texts.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert program("--own", "my texts.jsonl", "--out", "my data") == 0
    command, verb, *arguments = shlex.split(
        capsys.readouterr().out.rpartition("Next, a tokenizer that fits it: ")[2]
    )
    assert command == "mini-nanochat" and verb == "tok-train"
    assert mini_nanochat.flags.parse(tok_train.Config, arguments).data == Path("my data")
    assert program("--own", "my texts.jsonl") == 0
    assert sides(Path("runs/data/own")) == sides(Path("my data"))


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ((), "exactly one of --name and --own must be given"),
        (("--name", "fineweb-edu", "--own", "x"), "exactly one of --name and --own"),
        (("--name", "wikipedia"), "name must be one of fineweb-edu, got 'wikipedia'"),
        (("--own", "x", "--val-share", "1"), "val_share must be between 0 and 1, got 1.0"),
        (("--own", "x", "--val-share", "nan"), "val_share must be between 0 and 1"),
        (("--name", "fineweb-edu", "--shards", "0"), "shards must be at least 1, got 0"),
        (("--name", "fineweb-edu", "--workers", "0"), "workers must be at least 1, got 0"),
    ],
)
def test_flags_that_cannot_work_are_refused(capsys, arguments, sentence):
    with pytest.raises(SystemExit) as stopped:
        program(*arguments)
    assert stopped.value.code == 2 and sentence in capsys.readouterr().err
