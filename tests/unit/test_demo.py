"""The demo: small corpora, narrow terminals, wrong input, and whose code ran."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mini_nanochat
from mini_nanochat import flags
from mini_nanochat.corpus import hold_out
from mini_nanochat.course import stubs
from mini_nanochat.scripts import demo

ROOT = Path(mini_nanochat.__file__).parents[1]
BPE = "mini_nanochat/tokenizer/bpe.py"
TEXT = "The cat sat on 12 mats; nobody could remember whose mats they were, or why.\n" * 20
ALONE = ("--no-pipeline",)  # the programs of the pipeline have tests of their own
SMALL = ("--vocab-size", "290", *ALONE)


@pytest.fixture
def corpus(tmp_path):
    """A corpus of one file."""
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, "utf-8")
    return path


@pytest.fixture
def workspace(tmp_path):
    """A workspace whose bpe.py is a copy of ours."""
    path = tmp_path / "workspace" / BPE
    path.parent.mkdir(parents=True)
    path.write_text((ROOT / BPE).read_text("utf-8"), "utf-8")
    return tmp_path / "workspace"


def run(*argv):
    """The demo in this process; returns its exit code."""
    return flags.run(demo.Config, demo.main, [str(one) for one in argv])


def program(*argv, **variables):
    """The demo in a process of its own, with these environment variables."""
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    env = {**clean, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **variables}
    command = [sys.executable, "-m", "mini_nanochat.scripts.demo", *map(str, argv)]
    return subprocess.run(command, env=env, capture_output=True, encoding="utf-8", timeout=600, check=False)


# -- it works -------------------------------------------------------------------------------------


def test_one_document_is_enough(corpus, capsys):
    assert run("--corpus", corpus, *SMALL) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert f"{len(TEXT):,} characters in 1 file(s)" in words
    assert f"characters learned from {len(TEXT) * 9 // 10:,}" in words
    assert "256 bytes + 25 merges + 9 specials" in words
    assert f"On the {len(TEXT) - len(TEXT) * 9 // 10} characters kept aside" in words
    assert f"all {len(demo.PARAGRAPH)} characters came back" in words
    assert words.count("the reference") == len(demo.MODULES) and "your workspace" not in words
    assert "mini-nanochat start 0.1" in words and "make lessons" in words


def test_the_standard_library_is_the_corpus_if_none_is_named(capsys):
    assert run("--max-chars", 10_000, *SMALL) == 0
    assert "the library of Python" in capsys.readouterr().out


def test_a_corpus_is_cut_at_max_chars_and_that_is_said(tmp_path, capsys):
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(TEXT * 5, "utf-8")
    assert run("--corpus", tmp_path, "--max-chars", 10_000, *SMALL) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "10,000 characters in 2 file(s)" in words and "cut off there (--max-chars)" in words


def test_nul_bytes_do_no_harm(corpus, capsys):
    corpus.write_text(TEXT + "\x00" * 100 + TEXT, "utf-8")
    assert run("--corpus", corpus, *SMALL) == 0
    assert "\x00" not in capsys.readouterr().out


def test_brackets_in_names_and_text_are_no_markup(tmp_path, capsys):
    path = tmp_path / "[red]text.txt"
    path.write_text(TEXT + "[/bold] :smile: [link=x]" * 50, "utf-8")
    assert run("--corpus", path, *SMALL) == 0
    assert "[red]text.txt" in "".join(capsys.readouterr().out.split())


def test_the_smallest_vocabulary_is_bytes_alone(corpus, capsys):
    assert run("--corpus", corpus, "--vocab-size", 265, *ALONE) == 0
    assert "256 bytes + 0 merges + 9 specials" in " ".join(capsys.readouterr().out.split())


def test_a_special_token_typed_by_a_user_stays_text(corpus, capsys):
    assert run("--corpus", corpus, *SMALL) == 0
    words = " ".join(capsys.readouterr().out.split())
    found = re.search(r"It stays text, (\d+) ordinary ids: \[([\d, ]+)\]", words)
    ids = [int(one) for one in found[2].split(",")]
    assert len(ids) == int(found[1]) > 1 and max(ids) < 281
    assert "one id, 259" in words


@pytest.mark.parametrize(
    "sizes", [[100] * 40, [1], [5000], [1, 10_000], [10_000, 1], [30] * 9, [9999] + [1] * 99]
)
def test_holding_out_loses_nothing_and_keeps_about_a_tenth(sizes):
    letters = random.Random(0)
    documents = ["".join(letters.choices("abc ", k=size)) for size in sizes]
    kept, aside = hold_out(documents)
    together = "".join(kept) + "".join(aside)
    assert sorted(together) == sorted("".join(documents))
    assert 0.05 <= sum(map(len, aside)) / sum(sizes) <= 0.11 or sum(sizes) < 20
    assert sum(map(len, aside)) > 0


def test_whole_documents_are_held_out_where_there_are_enough():
    documents = [f"document {i}" for i in range(40)]
    kept, aside = hold_out(documents)
    assert sorted(kept + aside) == sorted(documents) and aside


# -- what a person sees ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token, shown",
    [
        (b" the", "·the"),
        (b"\n\n", "\\n\\n"),
        (b"\xc3\xa9", "é"),
        (b"\xc3", "\\xc3"),
        (b"\x1b[2J", "\\x1b[2J"),
    ],
)
def test_a_token_is_shown_without_anything_invisible(token, shown):
    assert demo.show(token) == shown


def test_tokens_are_told_apart_without_colours_and_never_cut():
    line = demo.pieces([104, 105, 32, 104] * 4, {}, width=10)
    assert line.plain.replace("\n", "") == "h|i|·|h|" * 3 + "h|i|·|h"
    assert all(len(row) <= 10 for row in line.plain.split("\n"))
    assert {str(span.style) for span in line.spans} == {"bold", "underline"}


@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_is_wider_than_the_terminal_and_a_pipe_gets_no_control_codes(corpus, columns):
    done = program("--corpus", corpus, *SMALL, COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "\x1b" not in done.stdout and done.stderr == ""


def test_a_terminal_of_ascii_is_no_reason_to_stop(corpus):
    done = program("--corpus", corpus, *SMALL, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("no_color", [True, False])
def test_colours_on_a_terminal_unless_no_color_is_set(corpus, no_color):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "80", "PYTHONPATH": str(ROOT)} | (
        {"NO_COLOR": "1"} if no_color else {}
    )
    command = [sys.executable, "-m", "mini_nanochat.scripts.demo", "--corpus", str(corpus), *SMALL]
    process = subprocess.Popen(command, env=env, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    output = b""
    try:
        while part := os.read(ours, 65536):
            output += part
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    assert process.wait(timeout=300) == 0
    codes = re.findall(rb"\x1b\[([\d;]*)m", output)
    coloured = [code for code in codes if re.search(rb"(^|;)(3|4|9|10)[0-8](;|$)", code)]
    assert bool(coloured) != no_color


# -- wrong input: one sentence, code 2 ------------------------------------------------------------


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "holds no text"),
        (b" \n ", "holds no text"),
        (b"ab\xe9", "is not UTF-8 text: byte 0xe9 at position 2"),
        (b"ab", "vocab_size 290 is too large: 265 is the most that this corpus allows"),
    ],
)
def test_a_bad_corpus_is_one_sentence(corpus, content, says, capsys):
    corpus.write_bytes(content)
    assert run("--corpus", corpus, *SMALL) == 2
    err = capsys.readouterr().err
    assert says in err and len(err.splitlines()) == 1


def test_a_folder_without_text_is_one_sentence(tmp_path, capsys):
    assert run("--corpus", tmp_path, *SMALL) == 2
    assert "holds no text files" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, says",
    [
        (
            ["--vocab-size", "264"],
            "vocab_size must be at least 265 (256 bytes and 9 special tokens), got 264",
        ),
        (["--max-chars", "0"], "max_chars must be at least"),
    ],
)
def test_sizes_that_cannot_work_are_refused_before_anything_starts(argv, says, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*argv)
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "") and says in err


def test_the_largest_vocabulary_that_is_named_really_works(corpus, capsys):
    assert run("--corpus", corpus, "--vocab-size", 5000) == 2
    largest = int(re.search(r"(\d+) is the most", capsys.readouterr().err)[1])
    assert run("--corpus", corpus, "--vocab-size", largest, *ALONE) == 0
    assert run("--corpus", corpus, "--vocab-size", largest + 1) == 2


def test_ctrl_c_ends_with_one_line(corpus, monkeypatch, capsys):
    def interrupted(words, vocab_size, on_merge):
        on_merge((104, 101), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.bpe, "train", interrupted)
    assert run("--corpus", corpus, *SMALL) == 130
    assert capsys.readouterr().err.strip() == "Stopped."


# -- the learner's code ---------------------------------------------------------------------------


def mine(corpus, workspace):
    return program("--corpus", corpus, *SMALL, MINI_NANOCHAT_WORKSPACE=str(workspace), COLUMNS="300")


def test_it_says_whose_code_ran(corpus, workspace):
    done = mine(corpus, workspace)
    assert done.returncode == 0, done.stderr
    assert f"mini_nanochat.tokenizer.bpe: your workspace, {workspace / BPE}" in done.stdout
    assert "mini_nanochat.tokenizer.text: the reference" in done.stdout


@pytest.mark.parametrize("name", ["count_words", "train", "encode", "decode"])
def test_a_function_that_is_not_written_yet_is_named(corpus, workspace, name):
    file = workspace / BPE
    file.write_text(stubs.stub(file.read_text("utf-8"), "0.2", [name]), "utf-8")
    done = mine(corpus, workspace)
    assert done.returncode == 2
    assert done.stderr == f"0.2 {name} is not written yet in {file}: write it, or run without --mine\n"


def test_a_mistake_in_the_learners_code_keeps_its_traceback(corpus, workspace):
    file = workspace / BPE
    file.write_text(
        file.read_text("utf-8").replace("merges[pair] = new_id", "merges[pair], _ = [new_id]"), "utf-8"
    )
    done = mine(corpus, workspace)
    assert done.returncode == 1
    assert str(file) in done.stderr and done.stderr.strip().endswith(
        "not enough values to unpack (expected 2, got 1)"
    )


def test_text_that_does_not_come_back_is_noticed(corpus, monkeypatch, capsys):
    right = demo.bpe.decode
    monkeypatch.setattr(demo.bpe, "decode", lambda ids, merges: right(ids, merges)[:-1])
    assert run("--corpus", corpus, *SMALL) == 2
    assert "BPE (0.2): the text came back changed at character" in capsys.readouterr().err


def test_a_user_who_can_type_commands_is_noticed(corpus, monkeypatch, capsys):
    right = demo.bpe.encode
    monkeypatch.setattr(
        demo.bpe, "encode", lambda text, merges: [285] if text == demo.TYPED else right(text, merges)
    )
    assert run("--corpus", corpus, *SMALL) == 2
    assert "became something else than text: ids [285]" in capsys.readouterr().err


# -- the pipeline ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_pipeline_runs_as_far_as_it_goes(corpus):
    done = program(
        *("--corpus", corpus, "--vocab-size", "290", "--megabytes", "0.3", "--steps", "3"), COLUMNS="200"
    )
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    for command in ("microworld", "tok-train", "batches", "model", "base-train", "base-eval", "attention"):
        assert f"mini-nanochat {command} --" in words
    assert "the same batches, bit for bit" in words
    assert "after 3 steps:" in words and "untrained after 3 steps" in words
    assert "NO" not in words.split("0.2 all anew")[1].split("The first row")[0].split()


def test_a_program_that_fails_ends_the_demo_with_a_sentence(corpus, monkeypatch, capfd):
    monkeypatch.setattr(demo.sys, "executable", "false")
    assert run("--corpus", corpus, "--vocab-size", "290") == 2
    assert "the demo stopped: mini-nanochat microworld failed" in capfd.readouterr().err
