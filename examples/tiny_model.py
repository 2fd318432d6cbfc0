"""A tiny model learns a tiny world: the smallest whole training run, and what the profiler reads.

python examples/tiny_model.py
python tools/profiler/profile_training.py --config examples/tiny_model.py --steps 100
"""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor
from torch.optim import Optimizer

from mini_nanochat.data import loader, shards
from mini_nanochat.microworld import write
from mini_nanochat.model.gpt import GPT, GPTConfig, count_parameters
from mini_nanochat.optim import muon
from mini_nanochat.runtime import pick_device
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train import step

WORLD = Path("runs/tiny_world")  # made here the first time, and found again
STEPS = 60


def build() -> tuple[GPT, list[Optimizer], Iterator[tuple[Tensor, Tensor]]]:
    """A model, its optimizers, and batches without end. This is all that the profiler asks of a file."""
    write.write(WORLD, megabytes=0.3, seed=1, shards=2, row_group=256)
    train, _ = shards.train_and_val(WORLD / "documents")
    tokenizer = Tokenizer.train(shards.documents(train), vocab_size=512)
    device = pick_device()
    shape = GPTConfig(sequence_len=128, vocab_size=512, n_layer=2, n_head=2, n_kv_head=2, n_embd=64)
    model = GPT(shape).to(device)
    model.init(seed=0)
    batches = loader.Loader(train, tokenizer, batch_size=16, sequence_len=128, device=device)
    return model, muon.optimizers(model, shape.n_embd, matrix_lr=0.03), batches


def main() -> None:
    model, optimizers, batches = build()
    n = count_parameters(model.config)["total"]
    print(f"A model of {n:,} numbers reads about a small invented town, {STEPS} batches of text.")
    for number in range(STEPS):
        done = step.train_step(model.loss, [next(batches)], optimizers)
        if number % 10 == 0 or number == STEPS - 1:
            print(f"step {number:2}: loss {done.loss:.2f} nats  {'#' * round(8 * done.loss)}")
    print("The loss is how surprised the model is by the next token. It fell: the model has learned.")


if __name__ == "__main__":
    main()
