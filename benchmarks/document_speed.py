"""Time per token of one document, from short ones to long ones: it should not depend on the length.

    python benchmarks/document_speed.py [--models en-small original] [--lengths 200 1000 10000 100000] [--threads 1]
        [--precision float32] [--text FILE] [--seconds 5] [--json speed.json]

`encode_document` of sentences, into a file, no word's vector remembered, the weights prepared beforehand (the first line says
how long that took). The microseconds per token are those of the recurrence and of all else, which together should not depend on
the length, and those of the network that makes words' vectors, fewer as words repeat. A document is read again until
`--seconds` have passed, and its best reading counts. With one thread it is processor time, so that a busy machine
measures the same. "original" and "small" are random weights of these sizes; without a text words are made up whose
frequencies fall as in text (Zipf).
"""

import argparse
import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from elmokit import Elmo
from elmokit.config import ElmoConfig
from elmokit.kernels.engine import PREPARE_FROM
from elmokit.kernels.products import Precision
from elmokit.pretraining.recipes import PRESETS, PresetName
from elmokit.text.files import read_lines

RANDOM: dict[str, PresetName] = {"small": "small", "original": "original"}
LENGTHS = [200, 1_000, 10_000, 100_000]
Sentences = list[list[str]]


def invented_sentences() -> Iterator[list[str]]:
    """Sentences of 1 to 40 words out of 50,000, without end."""
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 12))) for _ in range(50_000)]
    sums = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(words))))
    while True:
        yield draw.choices(words, cum_weights=sums, k=draw.randint(1, 40))


def cut(sentences: Iterator[list[str]], tokens: int) -> Sentences:
    """The first so many tokens."""
    taken: Sentences = []
    while tokens and (sentence := next(sentences, None)) is not None:
        taken.append(sentence[:tokens])
        tokens -= len(taken[-1])
    return taken


def load(name: str, precision: Precision) -> Elmo:
    """A model, or random weights of a size."""
    if name in RANDOM:
        elmo = Elmo.from_config(ElmoConfig(bilm=PRESETS[RANDOM[name]]), precision=precision)
    else:
        elmo = Elmo.from_pretrained(name, device="cpu", precision=precision)
    elmo.word_cache = 0
    elmo.engine.expect(PREPARE_FROM)
    return elmo


def time_document(elmo: Elmo, document: Sentences, seconds: float) -> dict[str, float]:
    """Give the parts of the best of some readings, in microseconds per token."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    parts = dict.fromkeys(("word_vectors", "stacks"), 0.0)

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            began = clock()
            answer = work(*arguments)
            parts[name] += clock() - began
            return answer

        return run

    tokens = sum(map(len, document))
    began = time.perf_counter()
    readings: list[dict[str, float]] = []
    for name in parts:
        setattr(elmo.engine, name, watched(name, getattr(elmo.engine, name)))
    with tempfile.TemporaryDirectory() as folder:
        while not readings or time.perf_counter() - began < seconds:
            parts |= dict.fromkeys(parts, 0.0)
            start = clock()
            elmo.encode_document(document, out=Path(folder) / "vectors.npy")
            total = clock() - start
            rest = total - parts["word_vectors"] - parts["stacks"]
            readings.append({"recurrence_us": parts["stacks"], "words_us": parts["word_vectors"], "rest_us": rest})
    for name in parts:
        delattr(elmo.engine, name)  # the class's own shows again
    best = min(readings, key=lambda reading: reading["recurrence_us"] + reading["rest_us"])
    return {"tokens": tokens} | {name: 1e6 * value / tokens for name, value in best.items()} | {"readings": len(readings)}


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print a model's lines, and give them."""
    elmo = load(name, options.precision)
    print(f"{name}, {options.precision}, threads {torch.get_num_threads()}: weights prepared in {elmo.engine.preparing_s:.2f} s")
    print(f"{'tokens':>10}{'recurrence':>14}{'rest':>11}{'both':>12}{'words':>12}{'readings':>10}", flush=True)
    rows: list[dict[str, Any]] = []
    for length in options.lengths:
        sentences = (line.split() for line in read_lines(options.text, errors="skip")) if options.text else invented_sentences()
        row = time_document(elmo, cut(sentences, length), options.seconds)
        row["both_us"] = row["recurrence_us"] + row["rest_us"]
        times = "".join(f"{row[f'{part}_us']:9.1f} µs" for part in ("rest", "both", "words"))
        print(f"{row['tokens']:10,}{row['recurrence_us']:11.1f} µs{times}{row['readings']:9}", flush=True)
        rows.append(row)
    best = min(row["both_us"] for row in rows)
    rows = [row | {"times_best": row["both_us"] / best} for row in rows]
    print(f"the worst takes {max(row['times_best'] for row in rows):.2f} × the best", flush=True)
    return [{"model": name, "precision": options.precision, "threads": torch.get_num_threads(), **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["en-small", "original"])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--precision", choices=("float32", "bfloat16", "int8"), default="float32")
    parser.add_argument("--text", type=Path, help="a file, a sentence a line, words between white space")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.models:
            rows += measure(name, options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
