"""Speed of the loader: against the encoder alone, and against a slow twin. Ratios of medians, as one JSON line.

    .venv/bin/python tools/bench/loader.py [--mb 8] [--vocab 4096] [--sequence-len 256] [--rounds 5]

The text is the standard library's own source, cut into documents of at most 10,000 characters, in shards
with row groups of 1024. One epoch is streamed in batches of 32 rows. The contenders take turns, so that
whatever else the machine does meets all of them alike:

    encode      tiktoken's encode of the same texts, 128 at a time, and nothing else
    loader      the whole loader: shards, encode, cut, pack, shift, tensors
    twin        the same rows with a list in place of the buffer, searched from end to end
"""

import argparse
import itertools
import json
import os
import runpy
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from mini_nanochat.corpus import stdlib_documents
from mini_nanochat.course.manifest import ROOT
from mini_nanochat.data import loader, shards
from mini_nanochat.tokenizer.tokenizer import Tokenizer

# The loader written another way, which the graders of lesson 0.4 must accept: its buffer is a list.
SlowBuffer = runpy.run_path(str(ROOT / "tests/alternates/0_4_in_loops.py"))["Buffer"]


def encode(texts, tokenizer, args):
    """Tokens and seconds of the encoder alone."""
    start = time.perf_counter()
    tokens = 0
    for i in range(0, len(texts), loader.DRAW):
        tokens += sum(map(len, tokenizer.encode_batch(texts[i : i + loader.DRAW])))
    return {"tokens": tokens, "s": time.perf_counter() - start}


def stream(paths, tokenizer, args):
    """One epoch: tokens (targets that teach), positions, seconds, and those until the first batch."""
    start = time.perf_counter()
    batches = loader.Loader(
        paths, tokenizer, 32, args.sequence_len, epochs=1, buffer_size=args.buffer, device="cpu"
    )
    first = next(batches)
    latency, kept = time.perf_counter() - start, [first]
    kept += batches
    seconds = time.perf_counter() - start
    targets = [y for _, y in kept]
    # The end of an epoch packs badly, for there is nothing left to choose from: waste is measured before it.
    steady = targets[: int(0.9 * len(targets))]
    ignored = sum((y == loader.IGNORE).sum().item() for y in steady) / sum(y.numel() for y in steady)
    return {
        "tokens": sum(((y != loader.IGNORE) & (y != tokenizer.bos_id)).sum().item() for y in targets),
        "s": seconds,
        "first": latency,
        "ignored": ignored,
        "hash": hash(tuple(y.sum().item() for y in targets)),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=float, default=8)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--sequence-len", type=int, default=256)
    parser.add_argument("--buffer", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    files = stdlib_documents(int(args.mb * 1e6))
    texts = [text[i : i + 10_000] for text in files for i in range(0, len(text), 10_000)]
    tokenizer = Tokenizer.train(texts[:300], args.vocab)
    with tempfile.TemporaryDirectory() as folder:
        shards.write_shards(texts, Path(folder, "data"))
        paths, _ = shards.train_and_val(Path(folder, "data"))
        train = list(shards.documents(paths))
        runs = {"encode": [], "loader": [], "twin": []}
        for _ in range(args.rounds):
            runs["encode"].append(encode(train, tokenizer, args))
            runs["loader"].append(stream(paths, tokenizer, args))
            with mock.patch.object(loader, "Buffer", SlowBuffer):
                runs["twin"].append(stream(paths, tokenizer, args))

    def median(name, key="s"):
        return statistics.median(run[key] for run in runs[name])

    tokens = runs["encode"][0]["tokens"]
    row = {
        "documents": len(train),
        "tokens": tokens,
        "vocab": args.vocab,
        "T": args.sequence_len,
        "buffer": args.buffer,
        "rounds": args.rounds,
        "load": round(os.getloadavg()[0], 2),
        "all_tokens_taught": all(run["tokens"] == tokens for run in runs["loader"] + runs["twin"]),
        "same_batches": len({run["hash"] for run in itertools.chain(runs["loader"], runs["twin"])}) == 1,
        "encode_tokens_per_s": round(tokens / median("encode")),
        "loader_tokens_per_s": round(tokens / median("loader")),
        "twin_tokens_per_s": round(tokens / median("twin")),
        "loader_to_encode": round(median("encode") / median("loader"), 2),
        "loader_to_twin": round(median("twin") / median("loader"), 2),
        "first_batch_s": round(median("loader", "first"), 3),
        "ignored": round(median("loader", "ignored"), 4),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
