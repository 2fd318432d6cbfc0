"""The checkpoint of Phase 0: the pieces of four lessons together, on real text.

pytest tests/phase0 --mine      after your report cards: these tests, on your code where you have written it
pytest -s ...                   shows the figures too
"""

import pytest

from mini_nanochat import corpus
from mini_nanochat.data import loader, shards
from mini_nanochat.tokenizer import bpe, tokenizer

VOCAB_SIZE = 8192
PROMISE = 4.0  # characters per token on text that was not seen
BAND = (4.01, 4.17)  # of the reference: Python 3.10 to 3.13, four ways of choosing the megabyte


def test_eight_thousand_ids_learned_from_a_megabyte_reach_four_characters_per_token(capsys):
    texts = corpus.stdlib_prose(2_000_000)
    kept = corpus.stdlib_prose(1_000_000)
    held_out = texts[len(kept) :]
    made = tokenizer.Tokenizer.train(kept, VOCAB_SIZE, rust=False)
    ids = made.encode_batch(held_out)
    reached = sum(map(len, held_out)) / sum(map(len, ids))
    with capsys.disabled():
        low, high = BAND
        print(f"\n  {reached:.2f} characters per token (wanted {PROMISE}; ours: {low} to {high})")
    assert made.vocab_size == VOCAB_SIZE
    assert [made.decode(some) for some in ids] == held_out, "a tokenizer must give back every text"
    assert reached >= PROMISE, f"{reached:.2f} characters per token on held-out text, wanted {PROMISE}"


TIES = ["ab cd ef gh ij kl mn op", "ba dc fe hg ji lk nm po", "aaaa bbbb cccc", "abab cdcd"]


@pytest.mark.skipif(tokenizer.RustTrainer is None, reason="mini_rustbpe is not built: make rust")
@pytest.mark.parametrize(
    "texts, vocab_size", [(TIES, 256 + 20), (corpus.stdlib_prose, 2048)], ids=["ties", "prose"]
)
def test_rust_and_python_learn_the_same_merges(texts, vocab_size):
    texts = texts(200_000) if callable(texts) else texts
    counts: list[int] = []
    merges = tokenizer.train(bpe.count_words(texts), vocab_size, lambda pair, count: counts.append(count))
    rust_counts: list[int] = []
    in_rust = tokenizer.train_in_rust(texts, vocab_size, [], lambda pair, count: rust_counts.append(count))
    assert list(merges.items()) == list(in_rust.items()), "pair by pair, in order, ties included"
    assert counts == rust_counts, "the counts at which they were learned"


def test_a_text_comes_back_whole_from_the_batches(tmp_path):
    texts = corpus.stdlib_prose(100_000)
    shards.write_shards(texts, tmp_path / "data", row_group=16)
    train, val = shards.train_and_val(tmp_path / "data")
    made = tokenizer.Tokenizer.train(shards.documents(train), 512, rust=False)
    wanted = sorted(i for text in shards.documents([*train, *val]) for i in made.encode(text))
    got = []
    for side in (train, val):
        for _, y in loader.Loader(side, made, 4, 128, epochs=1):
            got += y[(y != loader.IGNORE) & (y != made.bos_id)].tolist()
    assert sorted(got) == wanted, "every id of every document is a target once, of train or of val"
