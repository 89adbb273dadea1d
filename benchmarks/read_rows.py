"""Rows a second of the readers on generated rows: python benchmarks/read_rows.py [--rows N].

Prints one JSON line for each format: rows, seconds (best of --repeats), rows a second, rows a CPU
second (what a busy machine cannot hide), MB a second.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accord.data import read

TEXT = "the a small river runs under old bridges where people wait for trains that never come"
WORDS = TEXT.split()


def sentence(draw: random.Random, num_words: int) -> str:
    return " ".join(draw.choices(WORDS, k=num_words))


def preference(draw: random.Random, index: int) -> dict[str, Any]:
    prompt, chosen, rejected = (sentence(draw, n) for n in (20, 40, 40))
    return {"prompt": f"{prompt} {index}", "chosen": f"{chosen} a", "rejected": f"{rejected} b"}


def preference_chat(draw: random.Random, index: int) -> dict[str, Any]:
    row = preference(draw, index)
    return {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "chosen": [{"role": "assistant", "content": row["chosen"]}],
        "rejected": [{"role": "assistant", "content": row["rejected"]}],
    }


def hh(draw: random.Random, index: int) -> dict[str, Any]:
    row = preference(draw, index)
    head = f"\n\nHuman: hello\n\nAssistant: hi\n\nHuman: {row['prompt']}\n\nAssistant: "
    return {"chosen": head + row["chosen"], "rejected": head + row["rejected"]}


def nemo(draw: random.Random, index: int) -> dict[str, Any]:
    completions = [
        {"rank": rank, "completion": [{"role": "assistant", "content": sentence(draw, 40)}]}
        for rank in range(4)
    ]
    return {
        "context": [{"role": "user", "content": f"question {index}"}],
        "completions": completions,
    }


def measure(path: Path, num_rows: int, repeats: int) -> dict[str, float]:
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        assert len(read(path).records) == num_rows
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    best = min(seconds)
    return {
        "rows": num_rows,
        "seconds": round(best, 3),
        "rows_per_second": round(num_rows / best),
        "rows_per_cpu_second": round(num_rows / min(cpu_seconds)),
        "megabytes_per_second": round(path.stat().st_size / best / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    makers: dict[str, Callable[[random.Random, int], dict[str, Any]]] = {
        "preference.jsonl": preference,
        "preference_chat.jsonl": preference_chat,
        "hh.jsonl": hh,
        "hh.jsonl.gz": hh,
        "nemo_rank_k4.jsonl": nemo,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, make in makers.items():
            draw = random.Random(0)
            path = Path(folder) / name
            opener = gzip.open if name.endswith(".gz") else open
            with opener(path, "wb") as file:
                for index in range(args.rows):
                    file.write(json.dumps(make(draw, index)).encode() + b"\n")
            print(json.dumps({"file": name} | measure(path, args.rows, args.repeats)), flush=True)


if __name__ == "__main__":
    main()
