"""How fast a biLM trains and how much memory that takes, against the size of the softmax's vocabulary.

    python -m benchmarks.vocabulary_size [--sizes 10000 30000 100000 300000 1000000] [--preset small] [--threads 2]
        [--json vocabulary.json] [--plot vocabulary.svg]

Every row is a process of its own, which builds what `elmo pretrain` would train by the modern recipe (batch 64 × 20, AdamW,
Adagrad for the softmax's table) and takes steps: some to warm up, then for --seconds, 20 steps at least and 30 seconds at
most. With the recipe's 2,048 negatives, and with the full softmax, where a step takes no more than --full-seconds: the first size
is tried in any case, a larger one if its share of the one before fits; what is left out stands in the table as such.

* tokens/s are targets of one direction; a step has 1,280;
* "MB" is the peak of the process when all steps are done: PyTorch, text, weights, gradients, the optimizer's sums; a
  checkpoint and the scoring of held-out text are not among it.

The text is made up, and written into a temporary folder. Its words follow Zipf's law: the word of rank r among N has the
probability 1/r ÷ (1 + 1/2 + … + 1/N). They are spelled by their rank in letters, frequent ones short. First come --tokens
words drawn so, which is all that is trained on (sentences of 1 to 40 words, in file order); then all words once, so that each
one is in the vocabulary, however rare. As N grows, a window has more distinct words, which the character convolution has to read:
that is part of what is measured, as it would be in a real text.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Literal, get_args

import numpy as np
import torch
from benchmarks.long_runs import Kept, Row, apart, as_table, one_line_errors, start
from numpy.typing import NDArray

from elmokit.config import TextConfig
from elmokit.deploy.bench import machine
from elmokit.pretraining.options import Precision, PretrainOptions
from elmokit.pretraining.preparing import build_trainer, read_corpus
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import PRESETS, RECIPES, PresetName
from elmokit.report.bars import check_drawing
from elmokit.report.curves import Curve, CurvePanel, draw_curves
from elmokit.text.vocabulary import SPECIAL_WORDS
from elmokit.training.budget import Budget
from elmokit.training.checkpoints import Checkpoints
from elmokit.training.memory import peak_bytes
from elmokit.training.ranks import ALONE

Softmax = Literal["sampled", "full"]
WARM_UP, STEPS, MOST_SECONDS = 3, 20, 30.0
SENTENCE = 40
"""Words of the longest sentence."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What one process measures."""

    size: int
    """V, the special words included."""
    softmax: Softmax
    precision: Precision
    preset: PresetName
    threads: int
    tokens: int
    """Of the text that is trained on."""
    seconds: float
    """For which steps are timed at least."""

    @property
    def way(self) -> tuple[Softmax, Precision]:
        """What a line of the plot is of."""
        return self.softmax, self.precision

    @property
    def name(self) -> str:
        """What it is called in the plot."""
        softmax = "full softmax" if self.softmax == "full" else f"{RECIPES['modern'].negatives:,} negatives"
        return f"{softmax}, {self.precision}"


def spelled(rank: int) -> str:
    """Spell a word by its rank from 0: a, b, …, z, aa, ab and so on."""
    letters = ""
    rank += 1
    while rank:
        rank, letter = divmod(rank - 1, len(ascii_lowercase))
        letters = ascii_lowercase[letter] + letters
    return letters


def drawn_ranks(words: int, tokens: int, seed: int) -> NDArray[np.int64]:
    """Draw ranks from 0 by Zipf's law over so many words."""
    sums_N = np.cumsum(1 / np.arange(1, words + 1))
    places = np.searchsorted(sums_N / sums_N[-1], np.random.default_rng(seed).random(tokens), side="right")
    return np.asarray(np.minimum(places, words - 1), np.int64)  # rounding may leave the last sum below 1


def write_text(path: Path, words: int, tokens: int, seed: int, every_word: bool) -> None:
    """Write sentences of drawn words, and then all words once if asked."""
    names = [spelled(rank) for rank in range(words)]
    drawn = [names[rank] for rank in drawn_ranks(words, tokens, seed).tolist()]
    lengths = np.random.default_rng(seed + 1).integers(1, SENTENCE + 1, size=tokens).tolist()
    with path.open("w", encoding="utf-8") as file:
        begin = 0
        while begin < tokens:
            end = begin + lengths.pop()
            file.write(" ".join(drawn[begin:end]) + "\n")
            begin = end
        if every_word:
            for begin in range(0, words, SENTENCE):
                file.write(" ".join(names[begin : begin + SENTENCE]) + "\n")


def options_of(setting: Setting, folder: Path) -> PretrainOptions:
    """Give the options that `elmo pretrain` would make."""
    recipe = RECIPES["modern"]
    return PretrainOptions(
        train=TextSource([str(folder / "train.txt")]),
        heldout=TextSource([str(folder / "heldout.txt")]),
        out=folder / "model",
        bilm=PRESETS[setting.preset],
        text=TextConfig(tokenizer="whitespace"),
        recipe=replace(recipe, negatives=None) if setting.softmax == "full" else recipe,
        vocabulary_size=setting.size,
        budget=Budget(steps=1),
        shuffle=False,  # the text's end, where all words stand once, follows no law and is not reached
        precision=setting.precision,
    )


def make_text(setting: Setting, folder: Path) -> Row:
    """Write the text of a size and read it, so that the memory that this takes is in no measurement."""
    words = setting.size - len(SPECIAL_WORDS)
    write_text(folder / "train.txt", words, setting.tokens, seed=1, every_word=True)
    write_text(folder / "heldout.txt", words, 1000, seed=3, every_word=False)
    corpus = read_corpus(options_of(setting, folder))
    return {"words": corpus.facts["words_of_training"]}


def measure(setting: Setting, folder: Path) -> Row:
    """Train some steps and time them; this runs in a process of its own."""
    torch.set_num_threads(setting.threads)
    options = options_of(setting, folder)
    corpus = read_corpus(options)
    before = peak_bytes()
    trainer = build_trainer(options, corpus, Checkpoints(folder / "none", 1), ALONE)
    began, seconds = time.perf_counter(), list[float]()
    for _ in range(WARM_UP):
        trainer.step(0.5)
        if time.perf_counter() - began > setting.seconds:
            break
    warm_up = trainer.progress.tokens
    while not seconds or _goes_on(seconds, setting, trainer):
        began = time.perf_counter()
        trainer.step(0.5)
        seconds.append(time.perf_counter() - began)
    return {
        "vocabulary": trainer.vocabulary_size,
        "tokens_per_second": (trainer.progress.tokens - warm_up) / sum(seconds),
        "step_seconds": sum(seconds) / len(seconds),
        "fastest_step": min(seconds),
        "slowest_step": max(seconds),
        "steps": len(seconds),
        "before": before,
        "peak": peak_bytes(),
        "body": sum(parameter.numel() for parameter in trainer.model.bilm.parameters()),
        "head": sum(parameter.numel() for parameter in trainer.model.head.parameters()),
    }


def _goes_on(seconds: Sequence[float], setting: Setting, trainer: Pretrainer) -> bool:
    """Whether another step is worth it, and there is drawn text left for it."""
    left = setting.tokens - trainer.progress.tokens
    wanted = sum(seconds) < MOST_SECONDS and (len(seconds) < STEPS or sum(seconds) < setting.seconds)
    return wanted and left >= trainer.recipe.batch_size * trainer.recipe.window


def measure_size(settings: Sequence[Setting], kept: Kept, found: dict[Setting, Row], full_seconds: float) -> None:
    """Measure all that is asked of one size, on the same text.

    Args:
        settings: Of this size.
        kept: Where rows of earlier calls are.
        found: All that was measured so far; what comes is put there.
        full_seconds: A step of the full softmax is not tried if it would take longer.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def measured(setting: Setting) -> Row:
            if not (folder / "train.txt").exists():
                made = apart(make_text, setting, folder)
                assert made["words"] == setting.size, made
            return apart(measure, setting, folder)

        for setting in settings:
            expected = step_forecast(setting, found)
            print(f"{setting.size:,} words, {setting.name} …", file=sys.stderr, flush=True)
            if setting.softmax == "full" and expected > full_seconds:
                found[setting] = {"left_out": f"about {expected:.0f} s a step"}
                continue
            try:
                found[setting] = kept.row(asdict(setting), partial(measured, setting))
            except ValueError as error:
                print(error, file=sys.stderr, flush=True)
                found[setting] = {"left_out": str(error)}


def step_forecast(setting: Setting, found: Mapping[Setting, Row]) -> float:
    """Give how long a step will take at most, by the largest size below that was tried; 0 if none was."""
    below = [other for other in found if replace(other, size=setting.size) == setting and "step_seconds" in found[other]]
    largest = max(below, key=lambda other: other.size, default=None)
    return 0.0 if largest is None else float(found[largest]["step_seconds"]) * setting.size / largest.size


def table(found: Mapping[Setting, Row]) -> str:
    """Lay out a row for each size, softmax and precision."""
    heads = ["vocabulary", "softmax", "precision", "tokens/s", "s a step", "MB", "M parameters", "of it softmax"]
    cells = []
    for setting, row in found.items():
        what = [f"{setting.size:,}", setting.softmax, setting.precision]
        if "left_out" in row:
            cells.append([*what, "–", row["left_out"], "–", "–", "–"])
            continue
        numbers = [f"{row['tokens_per_second']:,.0f}", f"{row['step_seconds']:.2f}", f"{row['peak'] / 1e6:,.0f}"]
        cells.append([*what, *numbers, f"{(row['body'] + row['head']) / 1e6:,.1f}", f"{row['head'] / 1e6:,.1f}"])
    return as_table(heads, cells)


def draw(found: Mapping[Setting, Row], picture: Path, title: str) -> None:
    """Draw speed and memory over the size, a line for each softmax and precision."""
    measured = {setting: row for setting, row in found.items() if "left_out" not in row}
    names = dict.fromkeys(setting.name for setting in measured)

    def curves(number: str, unit: float) -> list[Curve]:
        points = {name: [(s.size, row[number] / unit) for s, row in measured.items() if s.name == name] for name in names}
        return [Curve(name, [x for x, _ in own], [y for _, y in own], marks=True) for name, own in points.items()]

    panels = [
        CurvePanel("tokens/s", curves("tokens_per_second", 1), log_y=True),
        CurvePanel("peak memory, MB", curves("peak", 1e6), log_y=True),
    ]
    draw_curves(picture, title, "words of the vocabulary", panels, log_x=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.vocabulary_size", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--preset", choices=get_args(PresetName), default="small")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=get_args(Precision), nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--softmax", choices=get_args(Softmax), nargs="+", default=list(get_args(Softmax)))
    parser.add_argument("--tokens", type=int, default=200_000, help="words that are drawn; all steps are taken on them")
    parser.add_argument("--seconds", type=float, default=10, help="for which steps are timed at least")
    parser.add_argument("--full-seconds", type=float, default=5, help="longest step of the full softmax that is tried")
    parser.add_argument("--json", type=Path, help="where all numbers go; rows that stand there already are not measured again")
    parser.add_argument("--plot", type=Path, help=".svg, .png or .pdf")
    return parser.parse_args(arguments)


@one_line_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; 2 if nothing could be measured."""
    given = parse(arguments)
    found: dict[Setting, Row] = {}
    if given.plot:
        check_drawing(given.plot, "--plot")
    kept, ways = Kept(given.json), list(product(given.softmax, given.precision))
    shared = {"preset": given.preset, "threads": given.threads, "tokens": given.tokens, "seconds": given.seconds}
    for size in sorted(given.sizes):
        settings = [Setting(size=size, softmax=softmax, precision=precision, **shared) for softmax, precision in ways]
        measure_size(settings, kept, found, given.full_seconds)
    found = {setting: found[setting] for setting in sorted(found, key=lambda each: (ways.index(each.way), each.size))}
    title = f"{given.preset}, modern recipe, {given.threads} thread(s)"
    print(f"{machine()['processor']}, {title}\n\n{table(found)}")
    if given.plot:
        draw(found, given.plot, title)


if __name__ == "__main__":
    start(main)
