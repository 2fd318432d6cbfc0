"""The checkpoint of Phase 2: the pieces of four lessons together, as a training run.

pytest tests/phase2 --mine      after your report cards: these tests, on your code where you have written it
pytest -s ...                   shows the figures too
"""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from mini_nanochat.data import loader, shards
from mini_nanochat.microworld.documents import gather
from mini_nanochat.microworld.world import build
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.tokenizer.text import ByteTokenizer
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train import checkpoint, objective, schedule, step

STEPS = 50


@pytest.fixture(scope="module")
def texts():
    return [text for _, text in gather(build(0), "train", 60_000)]


@pytest.fixture
def chance():
    """torch's random numbers are afterwards as they were before."""
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


class Run:
    """A model, two optimizers, a loader, a schedule, and chance: at each step, some inputs are blanked."""

    def __init__(self, train, tokenizer):
        torch.manual_seed(0)
        self.blank = tokenizer.bos_id
        self.model = GPT(GPTConfig(32, tokenizer.vocab_size, n_layer=2, n_head=2, n_kv_head=1, n_embd=32))
        self.model.init(0)
        blocks = list(self.model.blocks.parameters())
        ends = [self.model.wte.weight, self.model.lm_head.weight]
        self.optimizers = [torch.optim.AdamW(ends, lr=0.01), torch.optim.SGD(blocks, lr=0.01, momentum=0.9)]
        self.loader = loader.Loader(train, tokenizer, 4, 32, buffer_size=50)
        self.step, self.losses = 0, []

    def loss(self, x, y):
        return self.model.loss(x.masked_fill(torch.rand(x.shape) < 0.1, self.blank), y)

    def go(self, until):
        def one(number):
            schedule.set_rates(self.optimizers, schedule.rate_at(number, STEPS, warmup=5))
            return step.train_step(
                self.loss, [next(self.loader), next(self.loader)], self.optimizers, most=1.0
            )

        for number, did in step.steps(one, range(self.step, until), show=False):
            self.step = number + 1
            self.losses.append(did.loss)

    def save(self, runs):
        state = {"step": self.step, "loader": self.loader.state()}
        writers = {
            "model.safetensors": lambda path: save_file(self.model.state_dict(), path),
            "first.safetensors": lambda path: checkpoint.save_optimizer(self.optimizers[0], path),
            "second.safetensors": lambda path: checkpoint.save_optimizer(self.optimizers[1], path),
            "random.safetensors": checkpoint.save_random,
            "state.json": lambda path: path.write_text(json.dumps(state), encoding="utf-8"),
        }
        return checkpoint.write(runs, self.step, writers)

    def restore(self, folder):
        self.model.load_state_dict(load_file(folder / "model.safetensors"))
        for name, optimizer in zip(("first", "second"), self.optimizers):
            checkpoint.load_optimizer(optimizer, folder / f"{name}.safetensors")
        checkpoint.load_random(folder / "random.safetensors")
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        self.loader.restore(state["loader"])
        self.step = state["step"]


def test_25_steps_and_25_more_are_50_bit_for_bit(texts, tmp_path, chance, capsys):
    shards.write_shards(texts, tmp_path / "data")
    train, _ = shards.train_and_val(tmp_path / "data")
    tokenizer = Tokenizer.train(texts, 300, rust=False)
    whole = Run(train, tokenizer)
    whole.go(STEPS)
    first = Run(train, tokenizer)
    first.go(20)
    first.save(tmp_path / "runs")
    first.go(25)
    first.save(tmp_path / "runs")
    broken = tmp_path / "runs" / checkpoint.name_of(30)
    broken.mkdir()  # a run of others that wrote straight into its folder, and was killed
    (broken / "model.safetensors").write_bytes(b"half")
    told = []
    found = checkpoint.newest(tmp_path / "runs", told.append)
    assert found is not None and found.name == "step_000025", "the newest that is whole"
    assert len(told) == 1, "and a word about the one that is not"
    second = Run(train, tokenizer)
    second.restore(found)
    second.go(STEPS)
    with capsys.disabled():
        print(
            f"\n  loss {whole.losses[0]:.3f} at first, {whole.losses[-1]:.3f} after {STEPS} steps, in one or in two"
        )
    assert first.losses + second.losses == whole.losses, "every loss, to its last bit"
    apart = [
        name
        for (name, one), other in zip(whole.model.named_parameters(), second.model.parameters())
        if not torch.equal(one, other)
    ]
    assert apart == [], "weights that differ"
    assert whole.losses[-1] < whole.losses[0] - 0.5, "and it has learned something"


def test_bits_per_byte_of_a_guess_say_how_long_tokens_are(texts, capsys):
    """Who guesses among V ids takes log2 V bits an id. Two tokenizers, the same text: what is left is arithmetic."""
    text = "".join(texts[:40])
    n_bytes = len(text.encode())
    learned = Tokenizer.train(texts, 400, rust=False)
    nothing = ByteTokenizer()
    sizes = {"bytes": [1] * 256 + [0] * len(nothing.specials), "bpe": learned.token_bytes()}
    found, wanted = {}, {}
    for name, ids in (("bytes", nothing.encode(text)), ("bpe", learned.encode(text))):
        n_vocab = len(sizes[name])
        ids = ids[: len(ids) // 8 * 8]
        held = sum(sizes[name][i] for i in ids)
        y = torch.tensor(ids).view(8, -1)

        def guess(x, y, n_vocab=n_vocab):
            return objective.cross_entropy(torch.zeros(*y.shape, n_vocab), y)

        found[name] = objective.evaluate_bpb(guess, [(y, y[:4]), (y, y[4:])], torch.tensor(sizes[name]))
        wanted[name] = math.log2(n_vocab) * len(ids) / held
    with capsys.disabled():
        print(
            f"\n  {n_bytes:,} bytes; bits per byte of a guess: "
            + ", ".join(f"{k} {v:.3f}" for k, v in found.items())
        )
    for name in found:
        assert abs(found[name] - wanted[name]) < 1e-4, f"{name}: log2 V bits an id, and so many bytes an id"
    assert found["bpe"] < found["bytes"], "fewer ids for the same text: a guess costs less"
    # And with the same guess about *bytes*, whoever says it, both must agree: 8 bits a byte, if bytes are all alike.
    for name, ids in (("bytes", nothing.encode(text)), ("bpe", learned.encode(text))):
        token_bytes = torch.tensor(sizes[name])
        y = torch.tensor(ids)[None]
        bpb = objective.evaluate_bpb(
            lambda x, y, t=token_bytes: t[y].float().mean() * math.log(256), [(y, y)], token_bytes
        )
        assert abs(bpb - 8) < 1e-3, (
            f"{name}: a guess of 1/256 for each byte costs 8 bits a byte, in whatever tokens"
        )


@pytest.mark.slow
def test_a_small_model_learns_rows_by_heart_down_to_the_floor(texts, capsys):
    """Fixed rows of text, all different. What stands in a row follows from how it begins; how it begins does not.

    Which of R rows it is takes ln R nats to say, and they are spread over the T targets of a row.
    """
    rows, length = 32, 48
    tokenizer = Tokenizer.train(texts, 300, rust=False)
    ids = tokenizer.encode("".join(texts))[: rows * length]
    y = torch.tensor(ids).view(rows, length)
    x = torch.cat([torch.full((rows, 1), tokenizer.bos_id), y[:, :-1]], dim=1)
    floor = math.log(rows) / length
    assert len({tuple(row) for row in y.tolist()}) == rows, "no row twice, or the floor would be lower"
    model = GPT(GPTConfig(length, tokenizer.vocab_size, n_layer=2, n_head=2, n_kv_head=2, n_embd=64))
    model.init(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005, betas=(0.9, 0.95), weight_decay=0.0)
    n, losses = 250, []
    for number in range(n):
        schedule.set_rates([optimizer], schedule.rate_at(number, n, warmup=10))
        losses.append(step.train_step(model.loss, [(x, y)], [optimizer], most=1.0).loss)
    with capsys.disabled():
        print(
            f"\n  loss {losses[-1]:.4f} after {n} steps; nobody gets below ln({rows}) / {length} = {floor:.4f}"
        )
    assert losses[-1] >= floor - 1e-4, "below the floor: the model sees what it has to guess"
    assert losses[-1] < floor + 0.05, "learned by heart, but for the beginnings"
