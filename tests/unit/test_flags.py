"""flags: a dataclass becomes a command line, and what goes wrong becomes one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import pytest

from mini_nanochat import flags
from mini_nanochat.flags import flag


@dataclass(frozen=True)
class Config:
    text_file: Path | None = flag(None, "where the text is; 100% of it is read")
    vocab_size: int = flag(300, "ids")
    learning_rate: float = flag(0.5, "step size")
    name: str = flag("a run", "what to call it")
    shuffle: bool = flag(True, "mix the order")
    seed: Optional[int] = 7  # noqa: UP045 (the older spelling must work too)

    def __post_init__(self) -> None:
        if self.vocab_size < 256:
            raise ValueError(f"vocab_size must be at least 256, got {self.vocab_size}")


@dataclass(frozen=True)
class Strict:
    steps: int = field(metadata={"help": "how many"})


def refusal(argv, capsys, config=Config):
    """What parse says on stderr when it refuses `argv`."""
    with pytest.raises(SystemExit) as stop:
        flags.parse(config, argv, prog="program")
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    return err


def test_no_flags_give_the_defaults():
    assert flags.parse(Config, []) == Config()


def test_each_type_is_read():
    argv = ["--text-file", "a/b.txt", "--vocab-size", "512", "--learning-rate=1e-3", "--name", "x"]
    argv += ["--no-shuffle", "--seed", "-1"]
    assert flags.parse(Config, argv) == Config(Path("a/b.txt"), 512, 1e-3, "x", False, -1)
    assert flags.parse(Config, ["--shuffle", "--name", ""]) == Config(shuffle=True, name="")


def test_argv_none_means_what_the_program_was_started_with(monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--vocab-size=999"])
    assert flags.parse(Config).vocab_size == 999


def test_the_word_none_is_none_only_where_none_is_allowed():
    assert flags.parse(Config, ["--seed", "none", "--text-file", "none", "--name", "none"]) == Config(
        seed=None, text_file=None, name="none"
    )


@pytest.mark.parametrize(
    "argv, says",
    [
        (["--vocab-size", "many"], "--vocab-size: must be a whole number, got 'many'"),
        (["--vocab-size", "1.5"], "--vocab-size: must be a whole number, got '1.5'"),
        (["--vocab-size", "none"], "--vocab-size: must be a whole number, got 'none'"),
        (["--learning-rate", "fast"], "--learning-rate: must be a number, got 'fast'"),
        (["--seed", ""], "--seed: must be a whole number, got ''"),
        (["--vocab-size"], "--vocab-size: expected one argument"),
        (["--vocab-size", "200"], "vocab_size must be at least 256, got 200"),
        (["--vocab", "300"], "unrecognized arguments: --vocab"),  # no guessing: a typo must not start a run
        (["--shuffle", "no"], "unrecognized arguments: no"),
        (["--colour", "red"], "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_value_ends_in_one_sentence(argv, says, capsys):
    message = refusal(argv, capsys)
    assert message.startswith("program: ") and says in message and "--help" in message


def test_a_field_without_default_must_be_given(capsys):
    assert "--steps" in refusal([], capsys, Strict)
    assert flags.parse(Strict, ["--steps", "3"]) == Strict(3)


def test_help_shows_every_flag_and_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        flags.parse(Config, ["--help"], prog="mini-nanochat try", description="Tries things.")
    help = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert "mini-nanochat try" in help and "Tries things." in help
    assert "100% of it is read (default: none)" in help
    for part in ("(default: 300)", "(default: 0.5)", "(default: a run)", "--no-shuffle", "(default: 7)"):
        assert part in help
    assert help.count("(default: true)") == 1 and "SUPPRESS" not in help


def test_a_type_that_no_flag_can_have_is_our_own_mistake():
    @dataclass(frozen=True)
    class Odd:
        sizes: list[int] = field(default_factory=list)

    with pytest.raises(TypeError, match="field sizes"):
        flags.parse(Odd, [])


# -- run ------------------------------------------------------------------------------------------


def outcome(action, capsys):
    """(exit code, stderr) of a program that does `action`."""
    code = flags.run(Strict, action, ["--steps", "1"])
    return code, capsys.readouterr().err


def raising(error):
    def action(config):
        raise error

    return action


def test_run_hands_over_the_settings_and_returns_0():
    seen = []
    assert flags.run(Strict, seen.append, ["--steps", "5"]) == 0
    assert seen == [Strict(5)]


@pytest.mark.parametrize("error", [ValueError("no text"), FileNotFoundError("no text")])
def test_bad_input_is_one_sentence_and_code_2(error, capsys):
    assert outcome(raising(error), capsys) == (2, "no text\n")


def test_ctrl_c_is_one_line_and_code_130(capsys):
    code, err = outcome(raising(KeyboardInterrupt()), capsys)
    assert code == 130 and err.strip() == "Stopped."


def test_an_unwritten_function_is_named_with_its_file(capsys):
    code, err = outcome(raising(NotImplementedError("0.2: train")), capsys)
    assert code == 2
    assert err == f"0.2 train is not written yet in {__file__}: write it, or run without --mine\n"


@pytest.mark.parametrize(
    "error", [NotImplementedError(), NotImplementedError(": x"), KeyError("x"), ValueError()]
)
def test_anything_else_keeps_its_traceback(error, capsys):
    with pytest.raises(type(error)):
        outcome(raising(error), capsys)


def test_an_error_in_the_learners_code_keeps_its_traceback(tmp_path, monkeypatch, capsys):
    file = tmp_path / "bpe.py"
    action = {}
    exec(compile("def main(config):\n    a, b = [1]\n", str(file), "exec"), action)
    assert outcome(action["main"], capsys)[0] == 2, "without a workspace it is an error like any other"
    monkeypatch.setenv("MINI_NANOCHAT_WORKSPACE", str(tmp_path))
    with pytest.raises(ValueError, match="not enough values"):
        outcome(action["main"], capsys)
