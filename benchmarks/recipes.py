"""How well a size of model learns a text by each recipe, in the same number of words and in the same time.

    python -m benchmarks.recipes --train FILE --heldout FILE --test FILE --out FOLDER [--seeds 1 2 3] [--plot curves.svg]

RUNS are

    reference        bilm-tf's recipe: Adagrad, batch 128, float32; 2,048 negatives as the other two; --tokens targets a direction
    modern-tokens    the modern recipe as it stands, in bfloat16; as many targets
    modern-time      the same for --minutes of training

Each run with each seed is an `elmo pretrain` in a process of its own, on --threads threads, and then an `elmo perplexity` of the
test text (exact: one stream, every target once). The held-out text is only watched: its first 20,000 words are scored every
--checkpoint-minutes, which the plot shows; none of it chooses anything. "minutes" are those of training steps, which a budget
of time counts too; "wall" is all time that `elmo pretrain` took, reading, checkpoints and scoring included (not that of a call
that was killed without notice).

What is interrupted goes on: the same command takes finished runs from FOLDER and the others from their last checkpoint. Calls
with other --runs or --seeds may share a FOLDER, side by side too; the table is of those that are asked for. What `elmo` says
goes to FOLDER/RUN-SEED.log, the numbers of a run to FOLDER/RUN-SEED.json, and those of the table to FOLDER/recipes.json.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, get_args

from benchmarks.long_runs import Row, about_file, as_table, one_line_errors, start, write_json

from elmokit.deploy.bench import machine
from elmokit.pretraining.recipes import PresetName
from elmokit.report.bars import check_drawing
from elmokit.report.curves import Curve, CurvePanel, draw_curves
from elmokit.training.log import read_log

RUNS = ("reference", "modern-tokens", "modern-time")
COLUMNS = {
    "test forward": ("test_forward", ",.2f"),
    "backward": ("test_backward", ",.2f"),
    "mean": ("test_mean", ",.2f"),
    "held-out mean": ("heldout_mean", ",.2f"),
    "M tokens": ("million_tokens", ",.2f"),
    "passes": ("passes", ",.1f"),
    "minutes": ("minutes", ",.1f"),
    "wall": ("wall_minutes", ",.1f"),
    "tokens/s": ("tokens_per_second", ",.0f"),
}
"""Of the table: what they are of, and how they are written."""


def pretrain_options(given: argparse.Namespace, run: str, seed: int) -> list[str]:
    """Give the options of `elmo pretrain` that say what is trained; two runs with the same ones are the same run."""
    recipe = {
        "reference": ["--recipe", "reference", "--negatives", "2048", "--batch-size", "128", "--precision", "float32"],
        "modern-tokens": ["--recipe", "modern", "--precision", "bfloat16"],
        "modern-time": ["--recipe", "modern", "--precision", "bfloat16"],
    }[run]
    budget = ["--hours", str(given.minutes / 60)] if run == "modern-time" else ["--tokens", str(given.tokens)]
    shape = ["--preset", given.preset, "--vocab-size", str(given.vocab_size)]
    text = ["--tokenizer", given.tokenizer, "--layout", given.layout]
    return [*recipe, *budget, *shape, *text, "--seed", str(seed), "--device", "cpu"]


def elmo(command: Sequence[str], log: Path, threads: int) -> str:
    """Run the program in a process of its own; give what it prints, its messages are appended to `log`.

    Raises:
        ValueError: It failed; the message has its last line.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with log.open("ab") as messages:
        program = [sys.executable, "-m", "elmokit", *command]
        process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=messages, text=True, env=environment)
        try:
            printed, _ = process.communicate()
        except BaseException:  # an interrupt: it writes its checkpoint, and what nobody waits for must not go on
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or ["nothing was said"])[-1]
        raise ValueError(f"elmo {command[0]} ended with status {process.returncode}: {last} ({log})")
    return printed


def train_and_measure(given: argparse.Namespace, run: str, seed: int) -> Row:
    """Do one run, or what is left of it; give its numbers.

    Raises:
        ValueError: FOLDER has a run of that name with other settings, or `elmo` failed.
    """
    model, note = given.out / f"{run}-{seed}", given.out / f"{run}-{seed}.json"
    files = {name: about_file(getattr(given, name)) for name in ("train", "heldout", "test")}
    options = pretrain_options(given, run, seed)
    asked = {"run": run, "seed": seed, "threads": given.threads, "options": options, "files": files}
    state: Row = {"asked": asked, "wall_seconds": 0.0, "found": None}
    if note.exists():
        state = json.loads(note.read_text(encoding="utf-8"))
        if state["asked"] != asked:
            raise ValueError(
                f"--out {given.out}: its run {model.name} was begun with other settings; give the same or another --out"
            )
    if state["found"] is None:
        write_json(note, state)
        log, began = note.with_suffix(".log"), time.monotonic()
        texts = ["--corpus", str(given.train), "--heldout", str(given.heldout)]
        minutes = ["--checkpoint-minutes", str(given.checkpoint_minutes)]
        try:
            elmo(["pretrain", *texts, "--out", str(model), *options, *minutes], log, given.threads)
        finally:
            state["wall_seconds"] += time.monotonic() - began
            write_json(note, state)
        test = json.loads(elmo(["perplexity", str(model), str(given.test), "--json"], log, given.threads))
        records = read_log(model.with_name(f"{model.name}.training") / "log.jsonl")
        state["found"] = {**numbers_of(records, test), "wall_minutes": state["wall_seconds"] / 60}
        write_json(note, state)
    found: Row = {"run": run, "seed": seed, "options": options, **state["found"]}
    return found


def numbers_of(records: Sequence[Row], test: Row) -> Row:
    """Put together what the log of a finished run says, and what was measured on the test text."""
    last = [record for record in records if "loss" in record][-1]
    heldout = [record for record in records if "final" in record][-1]["final"]
    return {
        **{f"test_{name}": test[name] for name in ("forward", "backward", "mean", "tokens", "oov")},
        **{f"heldout_{name}": heldout[name] for name in ("forward", "backward", "mean")},
        "million_tokens": last["tokens"] / 1e6,
        "steps": last["steps"],
        "passes": last["passes"],
        "minutes": last["seconds"] / 60,
        "tokens_per_second": last["tokens"] / last["seconds"],
        "curve": [[record["seconds"] / 60, record["heldout_mean"]] for record in records if "heldout_mean" in record],
    }


def table(rows: Sequence[Row]) -> str:
    """Lay out each seed's numbers, and each run's mean ± standard deviation (n − 1) over the seeds."""
    cells = []
    for run in dict.fromkeys(row["run"] for row in rows):
        seeds = [row for row in rows if row["run"] == run]
        for row in seeds:
            cells.append([run, str(row["seed"]), *(format(row[name], spec) for name, spec in COLUMNS.values())])
        if len(seeds) > 1:
            cells.append([run, "mean ± sd", *(_spread([row[name] for row in seeds], spec) for name, spec in COLUMNS.values())])
    return as_table(["run", "seed", *COLUMNS], cells)


def _spread(values: Sequence[float], spec: str) -> str:
    """Mean ± standard deviation."""
    return f"{mean(values):{spec}} ± {stdev(values):{spec}}"


def draw(rows: Sequence[Row], picture: Path, title: str) -> None:
    """Draw the held-out perplexity over the minutes of training: a color for each run, a line for each seed."""
    curves = []
    for run in dict.fromkeys(row["run"] for row in rows):
        points: list[tuple[float, float]] = []
        for row in rows:
            if row["run"] == run:
                points += [*map(tuple, row["curve"]), (math.nan, math.nan)]  # where a line ends, and the next seed's begins
        curves.append(Curve(run, [x for x, _ in points], [y for _, y in points], marks=True))
    draw_curves(picture, title, "minutes of training", [CurvePanel("held-out perplexity", curves, log_y=True)])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.recipes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--heldout", type=Path, required=True, help="is watched, and chooses nothing")
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="where models and numbers go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--tokens", type=int, default=4_600_000, help="targets in each direction of the first two runs")
    parser.add_argument("--minutes", type=float, default=35, help="of training, of the third")
    parser.add_argument("--preset", choices=get_args(PresetName), default="tiny")
    parser.add_argument("--vocab-size", type=int, default=10_002)
    parser.add_argument("--tokenizer", default="whitespace")
    parser.add_argument("--layout", choices=["lines", "running"], default="lines")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint-minutes", type=float, default=2, help="between looks at the held-out text")
    parser.add_argument("--plot", type=Path, help="held-out perplexity over minutes; .svg, .png or .pdf")
    return parser.parse_args(arguments)


@one_line_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; 2 if something could not be read or trained."""
    given = parse(arguments)
    if given.plot:
        check_drawing(given.plot, "--plot")
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for seed in given.seeds:
        for run in given.runs:
            print(f"{run}, seed {seed} …", file=sys.stderr, flush=True)
            rows.append(train_and_measure(given, run, seed))
            print(f"    test perplexity {rows[-1]['test_mean']:,.2f}", file=sys.stderr, flush=True)
    rows.sort(key=lambda row: (given.runs.index(row["run"]), row["seed"]))
    about: dict[str, Any] = machine()
    write_json(given.out / "recipes.json", {"machine": about, "rows": rows})
    print(f"{about['processor']}, {given.threads} thread(s), {given.preset}, {given.train.name}\n\n{table(rows)}")
    if given.plot:
        draw(rows, given.plot, f"{given.preset}, {given.train.name}, {given.threads} thread(s)")


if __name__ == "__main__":
    start(main)
