"""Speed of mini_rustbpe against PyPI's rustbpe: ratios of medians, as one JSON line.

    make rust && .venv/bin/python tools/bench/tokenizer.py [--mb 60] [--vocab 32768] [--rounds 3]

The text is the standard library's own source, cut into documents of at most 10,000 characters and
repeated up to --mb.
Each training runs in a process of its own, which reports its time and its extra peak memory. The
contenders take turns, so that whatever else the machine does meets all of them alike.
"""

import argparse
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from mini_nanochat.tokenizer.text import split_pattern


def documents(megabytes):
    """(documents, their bytes): at least so many megabytes of real text."""
    files = sorted(glob.glob(sysconfig.get_path("stdlib") + "/**/*.py", recursive=True))
    texts = [
        Path(path).read_text(encoding="utf-8", errors="replace")
        for path in files
        if "site-packages" not in path
    ]
    docs, size = [], 0
    while size < megabytes * 1e6:
        for text in texts:
            for i in range(0, len(text), 10_000):
                docs.append(text[i : i + 10_000])
                size += len(docs[-1].encode())
            if size >= megabytes * 1e6:
                break
    return docs, size


def peak():
    """Peak memory of this process so far, in MB (Linux counts in kB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def worker(module, megabytes, vocab):
    """Trains once with `module` and prints what it took."""
    docs, size = documents(megabytes)
    tokenizer = __import__(module).Tokenizer()
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    tokenizer.train_from_iterator(iter(docs), vocab, pattern=split_pattern())
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    extra = peak() - before
    ranks = hash(tuple(bytes(token) for token, _ in tokenizer.get_mergeable_ranks()))
    print(
        json.dumps(
            {
                "s": seconds,
                "cpu": cpu,
                "extra_mb": extra,
                "ranks": ranks,
                "mb": size / 1e6,
                "vocab": tokenizer.vocab_size,
            }
        )
    )


def run(module, threads, megabytes, vocab):
    """One training in a fresh process."""
    env = {**os.environ, "RAYON_NUM_THREADS": str(threads), "PYTHONHASHSEED": "0"}
    command = [sys.executable, __file__, "--worker", module, "--mb", str(megabytes), "--vocab", str(vocab)]
    out = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=300
    )
    return json.loads(out.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=float, default=60)
    parser.add_argument("--vocab", type=int, default=32768)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker")
    parser.add_argument("--only-mini", action="store_true")
    args = parser.parse_args()
    if args.worker:
        return worker(args.worker, args.mb, args.vocab)
    contenders = [("rustbpe", 1), ("mini_rustbpe", 1), ("rustbpe", 2), ("mini_rustbpe", 2)]
    if args.only_mini:
        contenders = contenders[1::2]
    results = {contender: [] for contender in contenders}
    for _ in range(args.rounds):
        for contender in contenders:
            results[contender].append(run(*contender, args.mb, args.vocab))

    def median(contender, key):
        return statistics.median(r[key] for r in results[contender])

    row = {"mb": args.mb, "vocab": args.vocab, "load": os.getloadavg()[0]}
    for module, threads in contenders:
        for key in ("s", "cpu", "extra_mb"):
            row[f"{module}_{threads}t_{key}"] = round(median((module, threads), key), 3)
    row["same_ranks"] = len({r["ranks"] for rs in results.values() for r in rs}) == 1
    row["trained"] = results[contenders[0]][0]["vocab"]
    if not args.only_mini:
        row["speedup_1t"] = round(median(("rustbpe", 1), "s") / median(("mini_rustbpe", 1), "s"), 2)
        row["speedup_2t"] = round(median(("rustbpe", 2), "s") / median(("mini_rustbpe", 2), "s"), 2)
    row["scaling_2t"] = round(median(("mini_rustbpe", 1), "s") / median(("mini_rustbpe", 2), "s"), 2)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
