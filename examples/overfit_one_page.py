"""A model learns one page by heart. A sound model can; one that cannot has a fault: a good first test."""

import math

import torch

from mini_nanochat.microworld.documents import gather
from mini_nanochat.microworld.world import build
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.optim import muon
from mini_nanochat.tokenizer.text import ByteTokenizer
from mini_nanochat.train import schedule, step

R, T = 16, 64  # rows, tokens in a row
STEPS = 150
# After <|bos|> alone nobody can know which of the R different rows follows: that costs ln R nats a row.
# The T tokens of a row share that cost: the mean loss cannot fall below ln(R) / T, however long it trains.
FLOOR = math.log(R) / T


def main() -> None:
    tokenizer = ByteTokenizer()
    (bos,) = tokenizer.encode("<|bos|>", allow_specials=True)
    page = " ".join(text for _, text in gather(build(seed=1), "train", 4 * R * T))[: R * T]
    y = torch.tensor(tokenizer.encode(page)[: R * T]).view(R, T)
    x = torch.cat([torch.full((R, 1), bos), y[:, :-1]], dim=1)  # each row one step later
    print(f"One page: {R} rows of {T} tokens. Here a token is a byte. Its first row:")
    print(f"  {tokenizer.decode(y[0].tolist())}")
    print(f"The floor: ln({R}) / {T} = {FLOOR:.4f} nats for each token")

    shape = GPTConfig(T, tokenizer.vocab_size, n_layer=2, n_head=2, n_kv_head=2, n_embd=64)
    model = GPT(shape)
    model.init(seed=0)
    optimizers = muon.optimizers(model, shape.n_embd)
    for number in range(STEPS):
        schedule.set_rates(optimizers, schedule.rate_at(number, STEPS, warmdown=0.5))
        done = step.train_step(model.loss, [(x, y)], optimizers)
        if number % 25 == 0 or number == STEPS - 1:
            print(f"step {number:3}: loss {done.loss:.4f}, which is {done.loss - FLOOR:.4f} above the floor")

    right = (model(x).argmax(-1) == y)[:, 4:].float().mean()
    print(f"By heart: {right:.0%} of the tokens are guessed right, once four of a row are known.")
    row = [bos, *y[2, :8].tolist()]
    said = tokenizer.decode([*row[1:], *model.generate(row, T - 8, temperature=0)])
    print(f"Given {tokenizer.decode(row[1:])!r} it goes on: {said!r}")


if __name__ == "__main__":
    main()
