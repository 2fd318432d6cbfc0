"""tok-train and batches on a small microworld: what they say, what they leave, what they refuse."""

import json

import pytest
import torch

from mini_nanochat import flags
from mini_nanochat.microworld import write
from mini_nanochat.model.gpt import GPT
from mini_nanochat.scripts import batches, model, tok_eval, tok_train
from mini_nanochat.tokenizer import tokenizer


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """The documents of a microworld of 60 kB."""
    out = tmp_path_factory.mktemp("runs") / "microworld"
    write.write(out, megabytes=0.06, seed=1, shards=2, row_group=64)
    return out / "documents"


@pytest.fixture(scope="module")
def vocabulary(documents):
    """A tokenizer of 300 ids, trained on them."""
    out = documents.parent / "tokenizer"
    assert train("--data", documents, "--out", out, "--vocab-size", 300) == 0
    return out


def train(*argv):
    return flags.run(tok_train.Config, tok_train.main, list(map(str, argv)), prog="tok-train")


def stream(*argv):
    return flags.run(batches.Config, batches.main, list(map(str, argv)), prog="batches")


def build(*argv):
    try:
        return flags.run(model.Config, model.main, list(map(str, argv)), prog="model")
    except SystemExit as stop:  # flags refuse in this way
        return stop.code


def words(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_a_tokenizer_is_trained_measured_and_saved(documents, tmp_path, capsys):
    assert train("--data", documents, "--out", tmp_path / "tokenizer", "--vocab-size", 300) == 0
    said = words(capsys)
    assert "256 bytes + 35 merges + 9 specials" in said and "characters per token" in said
    made = tokenizer.Tokenizer.load(tmp_path / "tokenizer")
    assert made.vocab_size == 300 and made.fingerprint[:16] in said


def test_the_trainers_are_compared_merge_for_merge(documents, tmp_path, capsys):
    out = tmp_path / "tokenizer"
    assert train("--data", documents, "--out", out, "--vocab-size", 300, "--compare") == 0
    said = words(capsys)
    assert said.count("yes") == (2 if tokenizer.RustTrainer is None else 3) and " NO" not in said


def test_without_rust_that_is_said(documents, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tokenizer, "RustTrainer", None)
    out = tmp_path / "tokenizer"
    assert train("--data", documents, "--out", out, "--vocab-size", 300, "--compare") == 0
    said = words(capsys)
    assert "in Python" in said and "not built: make rust" in said


def test_max_chars_bounds_what_is_learned_from():
    assert list(tok_train.first(["abc", "def", "ghi"], 5)) == ["abc", "de"]
    assert list(tok_train.first(["abc"], 5)) == ["abc"]


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (("--vocab-size", 200), "vocab_size must be at least 265"),
        (("--vocab-size", 100_000), "more than this corpus allows"),
        (("--data", "nowhere"), "nowhere is no folder"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence_and_leaves_nothing(
    documents, tmp_path, capsys, argv, sentence
):
    out = tmp_path / "tokenizer"
    assert train("--data", documents, "--out", out, *argv) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_another_tokenizer_is_not_written_over(documents, vocabulary, capsys):
    before = (vocabulary / "merges.txt").read_bytes()
    assert train("--data", documents, "--out", vocabulary, "--vocab-size", 301) == 2
    assert "holds another tokenizer: nothing was written" in capsys.readouterr().err
    assert (vocabulary / "merges.txt").read_bytes() == before


def test_batches_stream_and_resume(documents, vocabulary, capsys):
    sizes = ("--batch-size", 2, "--sequence-len", 64, "--batches", 4)
    assert stream("--data", documents, "--tokenizer", vocabulary, *sizes) == 0
    said = words(capsys)
    assert "4 batches of 2 x 64: 512 tokens" in said and "bit for bit" in said
    assert said.startswith("The first row, as a model will read it <|bos|>")


def test_a_model_is_built_counted_and_saved(documents, vocabulary, tmp_path, capsys):
    sizes = ("--depth", 1, "--batch-size", 2, "--sequence-len", 32)
    argv = ("--data", documents, "--tokenizer", vocabulary, "--out", tmp_path / "model", *sizes)
    assert build(*argv) == 0
    said = words(capsys)
    assert "1 layers, 64 features wide, 1 heads, 300 ids, 32 positions" in said
    assert f"total {2 * 300 * 64 + 12 * 64 * 64:,} 100.0%" in said
    assert "first loss 5.7038; ln(300) = 5.7038" in said
    assert GPT.load(tmp_path / "model").config.vocab_size == 300


def test_a_first_loss_that_is_no_guess_is_not_called_one(documents, vocabulary, capsys, monkeypatch):
    monkeypatch.setattr(GPT, "loss", lambda self, x, y: torch.tensor(9.0))
    sizes = ("--depth", 1, "--batch-size", 2, "--sequence-len", 32)
    assert build("--data", documents, "--tokenizer", vocabulary, *sizes) == 0
    said = words(capsys)
    assert "a fresh model should guess" in said and "it guesses" not in said


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (("--depth", 0), "depth must be at least 1, got 0"),
        (("--tokenizer", "nowhere"), "nowhere"),
        (("--data", "nowhere"), "nowhere is no folder"),
    ],
)
def test_a_model_that_cannot_be_built_is_said_in_a_sentence(documents, vocabulary, capsys, argv, sentence):
    assert build("--data", documents, "--tokenizer", vocabulary, *argv) == 2
    assert sentence in capsys.readouterr().err


def test_a_loader_that_does_not_resume_is_an_error(documents, vocabulary, capsys, monkeypatch):
    monkeypatch.setattr(batches.loader.Loader, "restore", lambda self, state: None)
    sizes = ("--batch-size", 2, "--sequence-len", 64, "--batches", 4)
    assert stream("--data", documents, "--tokenizer", vocabulary, *sizes) == 2
    assert "does not resume exactly" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda folder: (folder / "merges.txt").unlink(), "is missing"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "was not written here"),
        (
            lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {}}'),
            "no format",
        ),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "no JSON"),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b"\x80\x04\x95"), "is no text"),
        (lambda folder: cut(folder / "merges.txt"), "this is not the tokenizer that was saved"),
        (lambda folder: change(folder / "tokenizer.json", "fingerprint", "0" * 64), "fingerprint"),
        (lambda folder: change(folder / "tokenizer.json", "special_tokens", [1]), "special_tokens"),
        (lambda folder: change(folder / "tokenizer.json", "split_pattern", "a"), "fingerprint"),
    ],
)
def test_a_damaged_or_foreign_tokenizer_is_refused_in_a_sentence(
    documents, vocabulary, tmp_path, capsys, spoil, sentence
):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for path in vocabulary.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    spoil(folder)
    assert stream("--data", documents, "--tokenizer", folder) == 2
    assert sentence in capsys.readouterr().err


def cut(path):
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), "utf-8")


def change(path, key, value):
    header = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**header, key: value}), "utf-8")


def test_a_tokenizer_is_measured_on_texts_of_several_kinds(documents, vocabulary, capsys):
    argv = ["--tokenizer", str(vocabulary), "--data", str(documents)]
    assert flags.run(tok_eval.Config, tok_eval.main, argv, prog="tok-eval") == 0
    said = capsys.readouterr().out
    rows = {line.split("  ")[1].strip(): line.split() for line in said.splitlines() if "1.00" in line}
    assert {"its training text", "its validation text", "Python code", "German", "Greek"} <= set(rows)
    assert float(rows["its training text"][-1]) > float(rows["German"][-1]) >= float(rows["Greek"][-1]) >= 1
    assert "All texts came back as they were." in said


def test_tokenizers_that_cannot_be_downloaded_are_said(documents, vocabulary, capsys, monkeypatch):
    import tiktoken

    def none(name):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tiktoken, "get_encoding", none)
    argv = ["--tokenizer", str(vocabulary), "--data", str(documents), "--peers"]
    assert flags.run(tok_eval.Config, tok_eval.main, argv, prog="tok-eval") == 2
    assert "GPT-2's tokenizer could not be downloaded: no route to host" in capsys.readouterr().err
