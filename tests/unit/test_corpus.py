"""corpus: text from Python's own library, or from a file or folder that somebody names."""

from __future__ import annotations

import sysconfig

import pytest

from mini_nanochat import corpus


@pytest.fixture
def fake_stdlib(tmp_path, monkeypatch):
    """A folder that passes for the standard library."""
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    return tmp_path


def write(folder, **files):
    """Files of a folder: name (with __ for a dot) = content."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("__", ".")).write_bytes(data)


def test_the_standard_library_gives_text_and_keeps_to_the_limit():
    documents = corpus.stdlib_documents(200_000)
    assert documents and all(document.strip() for document in documents)
    assert 150_000 < sum(map(len, documents)) <= 200_000
    assert documents == corpus.stdlib_documents(200_000), "the same every time"


def test_the_standard_library_is_mixed_and_tests_are_left_out(fake_stdlib):
    for name in ("a", "b", "c", "d", "e"):
        write(fake_stdlib, **{f"{name}__py": f"# {name}\n"})
    for skipped in ("test", "site-packages", "__pycache__"):
        (fake_stdlib / skipped).mkdir()
        write(fake_stdlib / skipped, no__py="# never\n")
    names = [document[2] for document in corpus.stdlib_documents()]
    assert sorted(names) == list("abcde")
    assert names != sorted(names), "in the order of names a small corpus would be all about abc and argparse"


def test_files_of_the_standard_library_that_are_no_utf8_or_too_large_or_empty_are_passed_over(fake_stdlib):
    write(fake_stdlib, latin__py=b"# \xe9\n", empty__py=" \n", large__py="#" * 101, good__py="# good")
    assert corpus.stdlib_documents(100) == ["# good"]


def test_a_python_without_sources_is_an_error_with_a_way_out(fake_stdlib):
    with pytest.raises(FileNotFoundError, match="your own text"):
        corpus.stdlib_documents()


def test_a_file_is_one_document(tmp_path):
    write(tmp_path, a__txt="one\r\ntwo")
    assert len(corpus.read_documents(tmp_path / "a.txt")) == 1
    assert corpus.read_documents(str(tmp_path / "a.txt")) == corpus.read_documents(tmp_path / "a.txt")


def test_any_file_is_read_when_named_but_a_folder_gives_its_text_files_only(tmp_path):
    write(tmp_path, c__log="log", b__md="b", a__txt="a", e__rst="e", d__py="d", picture__png=b"\x89PNG\xff")
    assert corpus.read_documents(tmp_path / "c.log") == ["log"]
    assert corpus.read_documents(tmp_path) == ["a", "b", "d", "e"], "sorted by name"


def test_a_folder_is_read_to_its_depth_and_a_folder_named_like_a_file_is_no_file(tmp_path):
    (tmp_path / "deep" / "folder.txt").mkdir(parents=True)
    write(tmp_path / "deep" / "folder.txt", x__txt="x")
    assert corpus.read_documents(tmp_path) == ["x"]


def test_nul_bytes_are_text_like_any_other(tmp_path):
    write(tmp_path, a__txt="a\x00b\x00")
    assert corpus.read_documents(tmp_path) == ["a\x00b\x00"]


def test_empty_files_are_left_out(tmp_path):
    write(tmp_path, a__txt="", b__txt=" \n\t", c__txt="c")
    assert corpus.read_documents(tmp_path) == ["c"]


@pytest.mark.parametrize("content", ["", " \n\n\t "])
def test_an_empty_corpus_is_refused(tmp_path, content):
    write(tmp_path, a__txt=content)
    for path in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(ValueError, match="holds no text"):
            corpus.read_documents(path)


def test_text_that_is_not_utf8_is_refused_with_its_place(tmp_path):
    write(tmp_path, a__txt="fine", b__txt=b"\xc3\xa9t\xe9")
    with pytest.raises(ValueError, match=r"b\.txt is not UTF-8 text: byte 0xe9 at position 3"):
        corpus.read_documents(tmp_path)


def test_a_folder_without_text_and_a_path_to_nothing_are_refused(tmp_path):
    write(tmp_path, picture__png=b"\x89PNG")
    with pytest.raises(FileNotFoundError, match=r"holds no text files \(\.txt"):
        corpus.read_documents(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        corpus.read_documents(tmp_path / "nothing.txt")


def test_prose_is_english_in_a_fixed_order_and_each_text_once():
    texts = corpus.stdlib_prose(50_000)
    assert texts == corpus.stdlib_prose(50_000)
    assert 50_000 <= sum(map(len, texts)) < 50_000 + len(texts[-1])
    assert len(set(texts)) == len(texts)
    letters = sum(c.isalpha() or c == " " for text in texts for c in text)
    assert letters / sum(map(len, texts)) > 0.75  # code has about 0.6
    assert texts == corpus.stdlib_prose(100_000)[: len(texts)]
