"""The planner's word: what `--dry-run` says of a run's time and memory, beside what the run then takes.

    python -m benchmarks.planner FOLDER --train ptb.train.txt.xz --heldout ptb.valid.txt --minutes 3

Runs of two sizes and two precisions, with a budget of time and with one of words; each is forecast and then done in processes
of their own. "hours" is all that the command takes once it has read the text: training, checkpoints, the final measuring.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.long_runs import one_line_errors, start

from elmokit.config import TextConfig
from elmokit.pretraining.forecast import Forecast, forecast
from elmokit.pretraining.options import Precision, PretrainOptions
from elmokit.pretraining.preparing import read_corpus
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import PRESETS, RECIPES, PresetName
from elmokit.pretraining.trial import try_out
from elmokit.training.budget import Budget


@dataclass(frozen=True)
class Run:
    """One run."""

    preset: PresetName
    precision: Precision
    timed: bool
    """Whether its budget is the time; else it is the words that fit into that time by the forecast."""


@dataclass(frozen=True)
class Result:
    """What was said and what came."""

    run: Run
    said: Forecast
    hours: float
    memory: int

    @property
    def ratios(self) -> tuple[float, float]:
        """Hours and memory taken, as shares of what was said."""
        assert self.said.memory is not None, "this system says what memory a process has had"
        return self.hours / self.said.hours, self.memory / self.said.memory


RUNS = (
    Run("tiny", "bfloat16", True),
    Run("tiny", "float32", False),
    Run("mini", "bfloat16", False),
    Run("mini", "float32", True),
)


def check(run: Run, folder: Path, train: str, heldout: str, minutes: float) -> Result:
    """Forecast a run, then do it."""
    out = folder / f"{run.preset}-{run.precision}-{'time' if run.timed else 'words'}"
    options = PretrainOptions(
        train=TextSource([train]),
        heldout=TextSource([heldout]),
        out=out,
        bilm=PRESETS[run.preset],
        text=TextConfig(tokenizer="whitespace"),
        recipe=RECIPES["modern"],
        vocabulary_size=10_000,
        budget=Budget(hours=minutes / 60),
        precision=run.precision,
        checkpoint_minutes=1,
    )
    corpus, trial = read_corpus(options), try_out(options)
    assert trial is not None, "memory was too small"
    said = forecast(trial, options, corpus)
    if not run.timed:
        options = replace(options, budget=Budget(tokens=int(said.tokens)))
        said = forecast(trial, options, corpus)
    began = time.monotonic()
    subprocess.run(_command(options), check=True)
    hours = (time.monotonic() - began) / 3600
    final = json.loads((options.work / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return Result(run, said, hours, final["peak_memory"])


def _command(options: PretrainOptions) -> list[str]:
    """The same run from the command line."""
    preset = next(name for name, shape in PRESETS.items() if shape == options.bilm)
    budget = ("--hours", options.budget.hours) if options.budget.hours is not None else ("--tokens", options.budget.tokens)
    heldout = options.heldout
    assert heldout is not None
    words = ["pretrain", "--corpus", *options.train.patterns, "--heldout", *heldout.patterns, "--out", options.out, *budget]
    words += ["--preset", preset, "--precision", options.precision, "--tokenizer", "whitespace", "--vocab-size", 10_000]
    words += ["--checkpoint-minutes", 1]
    return [sys.executable, "-m", "elmokit", *map(str, words)]


def table(results: Sequence[Result]) -> str:
    """Write what was said and what came, in Markdown."""
    lines = ["| run | said, min | took | | said, MB | took | |", "|---|---|---|---|---|---|---|"]
    for result in results:
        run, said = result.run, result.said
        name = f"{run.preset}, {run.precision}, {'for a time' if run.timed else f'{said.tokens:,.0f} words'}"
        time_ratio, memory_ratio = result.ratios
        assert said.memory is not None
        cells = [f"{said.hours * 60:.1f}", f"{result.hours * 60:.1f}", f"{time_ratio:.2f}"]
        cells += [f"{said.memory / 1e6:,.0f}", f"{result.memory / 1e6:,.0f}", f"{memory_ratio:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the runs go; it must be new")
    parser.add_argument("--train", required=True, help="text, one sentence a line, split into words")
    parser.add_argument("--heldout", required=True)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, for each run")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    print(f"threads: {os.environ.get('OMP_NUM_THREADS', 'as PyTorch chooses')}", file=sys.stderr)
    results = [check(run, options.folder, options.train, options.heldout, options.minutes) for run in RUNS]
    print(table(results))


if __name__ == "__main__":
    start(main)
