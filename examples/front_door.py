"""The whole way: text -> tokenizer -> model -> steps -> a sentence. Under a minute on one core."""

import tempfile
from pathlib import Path

from mini_nanochat.data import loader, shards
from mini_nanochat.microworld import write
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.optim import muon, precision
from mini_nanochat.runtime import pick_device
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train import run, schedule, step

STEPS = 110


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "microworld"
        write.write(world, megabytes=0.4, seed=1, shards=2, row_group=256)
        train, _ = shards.train_and_val(world / "documents")
        print("1. Text: 0.4 megabytes about Pebbleford, an invented town. One of its documents:")
        print(f"   {next(iter(shards.documents(train)))}")

        tokenizer = Tokenizer.train(shards.documents(train), vocab_size=1024)
        words = " Pebbleford bakes bread."
        pieces = "|".join(tokenizer.decode([one]) for one in tokenizer.encode(words))
        print(f"2. Tokenizer: {tokenizer.vocab_size} tokens, learned from that text. A sentence in tokens:")
        print(f"  {pieces}")

        shape = GPTConfig(sequence_len=128, vocab_size=1024, n_layer=3, n_head=2, n_kv_head=2, n_embd=128)
        model = GPT(shape)
        model.init(seed=0)
        model.compute_dtype, _ = precision.choose_dtype(pick_device("cpu"))
        print("3. Model: 3 layers of 128 features. What it writes is noise:")
        print(f"   {run.document(model, tokenizer, 0, 12)}")

        print(f"4. Training: {STEPS} steps of {16 * 128} tokens")
        optimizers = muon.optimizers(model, shape.n_embd, 0.03, 0.15, dtype=model.compute_dtype)
        batches = loader.Loader(train, tokenizer, batch_size=16, sequence_len=128)
        for number in range(STEPS):
            schedule.set_rates(optimizers, schedule.rate_at(number, STEPS, warmdown=0.6))
            done = step.train_step(model.loss, [next(batches)], optimizers)
            if number % 20 == 0 or number == STEPS - 1:
                print(f"   step {number:3}: loss {done.loss:.2f} nats for each token")
    print("5. Sentences, each from nothing, a token at a time:")
    for seed in range(3):
        print(f"   {run.document(model, tokenizer, seed)}")
    print("Not all of it is true in Pebbleford: `mini-nanochat demo` trains longer.")


if __name__ == "__main__":
    main()
