"""Peak memory of reading a corpus against its size, as `elmo pretrain` reads it before it trains.

    python -m benchmarks.corpus_memory TEXT… [--sizes 1 3 10 30 100] [--layout running] [--json memory.json] [--plot memory.svg]

TEXT are files, a line a sentence or (`--layout running`) a paragraph; `.gz`, `.xz` and `.zst` are unpacked. A size is in millions
of words: the first lines of the files, one file after the other, until they have so many words (split at white space), written
into one plain file first, which is not measured. Each size is then read by `build_corpus` in a process of its own, on an empty
folder. On Linux, whose accounts these are:

* "main" is the peak of the process that joins what the others have read, PyTorch and all, up to the finished corpus. Pages
  of files that it has mapped count, which the system takes back when it needs them; "own" is without those (the highest of
  the looks, 20 a second).
* "all" adds the peaks of the workers, one a core unless --workers says otherwise. Peaks need not fall together, and what
  processes share counts once for each: an upper bound.
* words are those of the tokenizer, as are distinct words; MB are millions of bytes; "text" is the plain file, "corpus" what
  reading leaves for training (before it ends, about as much again stands beside it).

Text that is too short is read again, and "times over" tells how often. What is read again would hold no new word, which a
longer text always does: so words are made new at the rate at which Heaps' law, V(n) = K·n^β, would have new ones come, with K
and β from the first reading (distinct words in it and in its first half). At place m of n words so each word is a new one with
the probability β·V(n)/n·(m/n)^(β−1), about one in a hundred: some word of letters there gets seven more letters that no other
word has. That keeps the growth of the vocabulary honest, and not all else: each new word occurs once, and repeated lines are
counted as such only where no word in them was made new.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import psutil
from benchmarks.long_runs import Kept, Row, about_file, apart, as_table, one_line_errors, start

from elmokit.config import CharCnnConfig, TextConfig
from elmokit.deploy.bench import machine
from elmokit.pretraining.corpus import build_corpus
from elmokit.pretraining.reading import TextSource
from elmokit.report.bars import check_drawing
from elmokit.report.curves import Curve, CurvePanel, draw_curves
from elmokit.text.files import read_lines
from elmokit.text.vocabulary import SPECIAL_WORDS
from elmokit.training.memory import peak_bytes

SAMPLE = 1.02
"""The distinct words are noted whenever the text is so many times as long as at the last note."""
SEARCH_SECONDS = 0.3
"""Time between searches for processes, each of which takes milliseconds; they last until all is read."""
COLUMNS = {
    "M words": ("tokens", 1e6, ",.1f"),
    "distinct, M": ("distinct", 1e6, ",.2f"),
    "MB main": ("main", 1e6, ",.0f"),
    "of it own": ("own", 1e6, ",.0f"),
    "MB all": ("all", 1e6, ",.0f"),
    "seconds": ("seconds", 1, ",.0f"),
    "words/s": ("words_per_second", 1, ",.0f"),
    "MB text": ("text_bytes", 1e6, ",.0f"),
    "MB corpus": ("corpus_bytes", 1e6, ",.0f"),
}
"""Of the table: what they are of, in what unit, and how they are written."""


class GrowingText:
    """One plain file that holds the first words of some files, more and more of them.

    Args:
        files: The text, of which there is no end: it is repeated, with new words in it.
        target: The file that is written.
    """

    def __init__(self, files: Sequence[Path], target: Path) -> None:
        self.files = files
        self.target = target
        self.words = 0
        """Written so far, split at white space."""
        self.whole = 0
        """Words of all files together; 0 as long as their end is not reached."""
        self.distinct = 0
        """Distinct words of all files together."""
        self.beta = 0.0
        """β of Heaps' law, from the first reading."""
        self.new = 0
        """Words made new so far."""
        self._lines = self._endless_lines()
        target.write_text("", encoding="utf-8")

    def grow(self, words: int) -> None:
        """Write on until there are so many words, to the end of a line."""
        with self.target.open("a", encoding="utf-8") as file:
            while self.words < words:
                line = next(self._lines)
                file.write(line + "\n")
                self.words += len(line.split())

    @property
    def times_over(self) -> float:
        """How often the files' text is in it; at most 1 means that nothing is repeated."""
        return self.words / self.whole if self.whole else 1.0

    def new_share(self, place: float) -> float:
        """Give the probability by Heaps' law that the word at this place of the text was not met before."""
        return float(self.beta * self.distinct / self.whole * (place / self.whole) ** (self.beta - 1))

    def _endless_lines(self) -> Iterator[str]:
        """Give the text as it is, then again and again with new words.

        Raises:
            ValueError: There is no text.
        """
        words, seen = 0, set[str]()
        notes = [(0, 0)]
        for line in self._once():
            yield line
            found = line.split()
            words += len(found)
            seen.update(found)
            if words > SAMPLE * notes[-1][0]:
                notes.append((words, len(seen)))
        if not words:
            raise ValueError(f"{', '.join(map(str, self.files))}: there is no text; check the files")
        self.whole, self.distinct, self.beta = words, len(seen), heaps_beta(notes, words, len(seen))
        del seen
        due = 0.0
        while True:
            for line in self._once():
                found = line.split()
                due += len(found) * self.new_share(self.words)
                places = [place for place, word in enumerate(found) if word.isalpha()]
                while due >= 1 and places:
                    place = places.pop(self.new * 7919 % len(places))  # somewhere in the line, the same in every call
                    found[place] += new_letters(self.new)
                    self.new += 1
                    due -= 1
                yield " ".join(found)

    def _once(self) -> Iterator[str]:
        """All lines of all files."""
        for path in self.files:
            yield from read_lines(path, errors="skip")


def heaps_beta(notes: Sequence[tuple[int, int]], words: int, distinct: int) -> float:
    """Give β of V(n) = K·n^β through two points: the whole text and about its half.

    Args:
        notes: Words, and distinct words among them, at some places.
        words: n of the whole.
        distinct: V of the whole.
    """
    half, known = min(notes, key=lambda note: abs(note[0] - words / 2))
    if not 0 < half < words:
        return 1.0  # a text of one line tells nothing
    return math.log(distinct / known) / math.log(words / half)


def new_letters(number: int) -> str:
    """Give seven letters that no other number has."""
    letters = ""
    for _ in range(6):
        number, letter = divmod(number, len(ascii_lowercase))
        letters += ascii_lowercase[letter]
    return "q" + letters


class Accounts:
    """The most memory that a process and those that it has started had, looked at from outside while they run."""

    def __init__(self) -> None:
        self.own = 0
        """Of the process itself without pages of files, at the highest look; in bytes."""
        self.workers: dict[int, int] = {}
        """Of each process that it has started: its peak."""
        self._searched = 0.0

    def look(self, process: int) -> None:
        """Look at a process and all below it."""
        self.own = max(self.own, account(process, "RssAnon"))
        if time.monotonic() - self._searched > SEARCH_SECONDS:
            with suppress(psutil.NoSuchProcess):
                self.workers = (
                    dict.fromkeys((each.pid for each in psutil.Process(process).children(recursive=True)), 0) | self.workers
                )
            self._searched = time.monotonic()
        for worker, peak in self.workers.items():
            self.workers[worker] = max(peak, account(worker, "VmHWM"))


def account(process: int, name: str) -> int:
    """Give what Linux says of a process, in bytes; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 if found else 0  # one that has ended and is not yet waited for has no memory


def read_corpus(text: str, folder: str, layout: Any, tokenizer: str, workers: int | None) -> Row:
    """Read a text in this process and its workers."""
    before, began = peak_bytes(), time.perf_counter()
    settings = TextConfig(tokenizer=tokenizer)
    corpus = build_corpus(TextSource([text], layout), None, Path(folder), settings, CharCnnConfig().max_characters, workers)
    seconds = time.perf_counter() - began
    tokens = len(corpus.train.tokens) + len(corpus.heldout.tokens)
    return {
        "tokens": tokens,
        "distinct": corpus.facts["words"] - len(SPECIAL_WORDS),
        "seconds": seconds,
        "words_per_second": tokens / seconds,
        "before": before,
        "main": peak_bytes(),
    }


def measure(text: Path, layout: str, tokenizer: str, workers: int | None) -> Row:
    """Have a text read, and look at the memory that it takes."""
    accounts = Accounts()
    with tempfile.TemporaryDirectory(dir=text.parent) as name:
        folder = Path(name) / "corpus"
        found = apart(read_corpus, str(text), str(folder), layout, tokenizer, workers, watch=accounts.look)
        corpus_bytes = sum(path.stat().st_size for path in folder.iterdir())
    return {
        **found,
        "own": accounts.own,
        "all": found["main"] + sum(accounts.workers.values()),
        "workers": list(accounts.workers.values()),
        "text_bytes": text.stat().st_size,
        "corpus_bytes": corpus_bytes,
    }


def measure_sizes(given: argparse.Namespace, text: GrowingText) -> list[Row]:
    """Measure all sizes, from the smallest up; those that an earlier call has measured are taken from its file."""
    kept, rows = Kept(given.json), []
    files = [about_file(path) for path in given.text]
    way = {"layout": given.layout, "tokenizer": given.tokenizer, "workers": given.workers}
    for size in sorted(given.sizes):

        def made(words: int = round(size * 1e6)) -> Row:
            text.grow(words)
            about = {"times_over": text.times_over, "beta": text.beta or None, "made_new": text.new}
            return {**measure(text.target, given.layout, given.tokenizer, given.workers), **about}

        print(f"{size:g} million words …", file=sys.stderr, flush=True)
        rows.append(kept.row({"files": files, "million_words": size, **way}, made))
    return rows


def table(sizes: Sequence[float], rows: Sequence[Row]) -> str:
    """Lay out a row for each size."""
    cells = [
        [f"{size:g}", f"{row['times_over']:.2f}", *(format(row[name] / unit, spec) for name, unit, spec in COLUMNS.values())]
        for size, row in zip(sizes, rows, strict=True)
    ]
    return as_table(["size", "times over", *COLUMNS], cells)


def draw(rows: Sequence[Row], picture: Path) -> None:
    """Draw memory, and distinct words below it, over the words of the text."""
    words = [row["tokens"] / 1e6 for row in rows]

    def curve(label: str, name: str) -> Curve:
        return Curve(label, words, [row[name] / 1e6 for row in rows], marks=True)

    ways = {"all processes": "all", "main process": "main", "main process, without mapped files": "own"}
    panels = [
        CurvePanel("peak memory, MB", [curve(label, name) for label, name in ways.items()]),
        CurvePanel("distinct words, millions", [curve("", "distinct")]),
    ]
    draw_curves(picture, "Reading a corpus", "words of the text, millions", panels, log_x=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.corpus_memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, nargs="+")
    parser.add_argument("--sizes", type=float, nargs="+", default=[1, 3, 10, 30, 100], help="millions of words")
    parser.add_argument("--layout", choices=["lines", "running"], default="lines")
    parser.add_argument("--tokenizer", default="words")
    parser.add_argument("--workers", type=int, help="processes that read; one a core by default")
    parser.add_argument(
        "--work", type=Path, help="where text and corpus are written, which need 20 bytes a word; removed at the end"
    )
    parser.add_argument("--json", type=Path, help="where all numbers go; sizes that stand there already are not measured again")
    parser.add_argument("--plot", type=Path, help=".svg, .png or .pdf")
    return parser.parse_args(arguments)


@one_line_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; 2 if something could not be read."""
    given = parse(arguments)
    if not Path("/proc/self/status").exists():
        raise ValueError("corpus_memory reads the accounts of Linux, which are not here")
    if given.plot:
        check_drawing(given.plot, "--plot")
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        rows = measure_sizes(given, GrowingText(given.text, Path(folder) / "text.txt"))
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores; {', '.join(path.name for path in given.text)}")
    print(f"the main process has {rows[0]['before'] / 1e6:,.0f} MB before it reads\n\n{table(sorted(given.sizes), rows)}")
    again = [row for row in rows if row["times_over"] > 1]
    if again:
        print(f"\nWhere the text is read again, words are made new by Heaps' law with β = {again[0]['beta']:.2f}.")
    if given.plot:
        draw(rows, given.plot)


if __name__ == "__main__":
    start(main)
