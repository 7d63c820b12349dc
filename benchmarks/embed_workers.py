"""`elmo embed` in several processes on as many cores, beside one process on one core: seconds from start to end.

    python benchmarks/embed_workers.py [--model en-small] [--workers 2] [--tokens 500000] [--layers mean] [--repeats 3]
        [--suffix parquet] [--json workers.json] [file …]

    one        one process, kept on one core: reads, computes and writes a file
    overlap    the same with one thread for computing, but on as many cores: what it wins to read and write meanwhile
    workers    as many workers as cores: they compute, and the file is written where they were started
    parts      the same, into a folder: each worker writes its parts

Each row is a whole run of the program, from its start to its end: what loading PyTorch, the model and the workers takes is
in it. So the text must be long enough for that not to matter; half a million tokens take about a minute on one core at
the size of `en-small`. Without files, words are made up whose frequencies fall as in text (Zipf). Best of some runs, taken in
turns. CPU s are the seconds of processors that all processes of a run took together: on a busy machine they tell more.
Only Linux keeps a process on some cores; elsewhere `one` has what `overlap` has.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from elmokit.text.files import read_lines

PROGRAM = [sys.executable, "-c", "import sys; from elmokit.cli.main import main; sys.exit(main())", "embed"]
PART_TEXTS = 2_000


class Run(NamedTuple):
    """One run of the program."""

    seconds: float
    """From its start to its end."""
    cpu_s: float
    """Of all its processes."""
    summary: str
    """What it says at the end."""


def invented_lines(tokens: int) -> Iterator[str]:
    """Lines of 1 to 40 words out of 50,000."""
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 12))) for _ in range(50_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    drawn = draw.choices(words, weights, k=tokens)
    while drawn:
        length = draw.randint(1, 40)
        yield " ".join(drawn[:length])
        del drawn[:length]


def write_text(path: Path, lines: Iterable[str], tokens: int) -> None:
    """Write lines until they have so many words."""
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
            tokens -= len(line.split())
            if tokens <= 0:
                return


def run(arguments: list[str], cores: int, threads: int) -> Run:
    """Run `elmo embed` on the first so many cores, with so many threads of PyTorch in all."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    keep = None
    if hasattr(os, "sched_setaffinity"):
        keep = partial(os.sched_setaffinity, 0, sorted(os.sched_getaffinity(0))[:cores])
    before, began = os.times(), time.perf_counter()
    done = subprocess.run([*PROGRAM, *arguments], stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=keep)
    seconds, after = time.perf_counter() - began, os.times()
    if done.returncode:
        raise SystemExit(f"elmo embed {' '.join(arguments)} failed: {done.stderr}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(seconds, cpu_s, done.stderr.splitlines()[-1].removeprefix("elmo: "))


def measure(text: Path, options: list[str], workers: int, repeats: int, suffix: str = "parquet") -> dict[str, Run]:
    """Run all rows, in turns; give the quickest of each.

    Args:
        text: What is embedded, a text a line.
        options: Of `elmo embed`, for all rows.
        workers: So many, on as many cores.
        repeats: Runs of each row.
        suffix: Of what is written.
    """
    target, several = f"out.{suffix}", ["--workers", str(workers)]
    rows = {
        "one": ([target], 1, 1),
        "overlap": ([target], workers, 1),
        "workers": ([target, *several], workers, workers),
        "parts": (["out", *several, "--format", suffix, "--part-sentences", str(PART_TEXTS)], workers, workers),
    }
    found: dict[str, Run] = {}
    for _ in range(repeats):
        for name, ((place, *more), cores, threads) in rows.items():
            with tempfile.TemporaryDirectory(dir=text.parent) as folder:
                words = [str(text), str(Path(folder) / place), "--device", "cpu", "--progress", *options, *more]
                found[name] = min(found.get(name, Run(float("inf"), 0, "")), run(words, cores, threads))
    return found


def report(runs: dict[str, Run]) -> dict[str, dict[str, Any]]:
    """Give the figures of each row: its seconds, and how many times as fast as one process it is."""
    one = runs["one"].seconds
    return {name: {**run._asdict(), "speedup": one / run.seconds} for name, run in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--model", default="en-small", help="a bundled name or a path")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=500_000)
    parser.add_argument(
        "--layers", default="mean", help="which are kept: `all` writes three times as much, and the disk may count"
    )
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--suffix", default="parquet", choices=["h5", "parquet", "jsonl"], help="what is written")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        text = folder / "text.txt"
        given = (line for path in options.files for line in read_lines(path, errors="skip"))
        write_text(text, given if options.files else invented_lines(options.tokens), options.tokens)
        same = ["--model", options.model, "--layers", options.layers, "--precision", options.precision]
        rows = report(measure(text, same, options.workers, options.repeats, options.suffix))
    finally:
        shutil.rmtree(folder)
    print(f"{options.model}, {options.precision}, .{options.suffix}: {options.workers} cores beside one")
    print(f"{'':8} {'seconds':>9} {'CPU s':>9} {'speedup':>8}")
    for name, row in rows.items():
        print(f"{name:8} {row['seconds']:9.1f} {row['cpu_s']:9.1f} {row['speedup']:8.2f}   {row['summary']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
