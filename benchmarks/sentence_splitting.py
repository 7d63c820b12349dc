"""How well running text is split: our rules beside sentencex, on the gold sentences of UD EWT.

A paragraph's sentences are joined by one space each; a boundary is where a sentence ends inside a paragraph.

    python benchmarks/sentence_splitting.py ../shared/data/ud-ewt
"""

import argparse
import lzma
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from elmokit.text.sentences import sentencex_ends, split_sentences

Splitter = Callable[[str], Iterable[int]]


class Paragraph(NamedTuple):
    """Running text and where its gold sentences end, the last one left out."""

    text: str
    ends: set[int]


class Scores(NamedTuple):
    """Boundaries found that are right, right ones that are found, their harmonic mean."""

    precision: float
    recall: float
    f1: float


def read_paragraphs(path: Path) -> Iterator[Paragraph]:
    """Rebuild running text from a CoNLL-U file (`.xz`)."""
    sentences: list[str] = []
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.startswith(("# newpar", "# newdoc")) and sentences:
                yield join(sentences)
                sentences = []
            elif line.startswith("# text = "):
                sentences.append(line.removeprefix("# text = ").strip())
    yield join(sentences)


def join(sentences: list[str]) -> Paragraph:
    """Put one space between sentences and remember where they end."""
    text, ends = "", set()
    for sentence in sentences:
        text += " " * bool(text) + sentence
        ends.add(len(text))
    return Paragraph(text, ends - {len(text)})


def rules(text: str) -> Iterator[int]:
    return (sentence.end for sentence in split_sentences(text))


def by_sentencex(text: str) -> Iterator[int]:
    return (len(text[:end].rstrip()) for end in sentencex_ends(text, "en"))


def score(splitter: Splitter, paragraphs: Iterable[Paragraph]) -> Scores:
    """Compare the boundaries found with the gold ones."""
    right = found = gold = 0
    for text, ends in paragraphs:
        boundaries = set(splitter(text)) - {len(text)}
        right += len(boundaries & ends)
        found += len(boundaries)
        gold += len(ends)
    return Scores(right / found, right / gold, 2 * right / (found + gold))


def report(folder: Path) -> Iterator[str]:
    """One line for each part and splitter."""
    for part in ("dev", "test"):
        paragraphs = list(read_paragraphs(folder / f"en_ewt-ud-{part}.conllu.xz"))
        for name, splitter in {"rules": rules, "sentencex": by_sentencex}.items():
            precision, recall, f1 = score(splitter, paragraphs)
            yield f"{part:4}  {name:9}  precision {precision:.3f}  recall {recall:.3f}  F1 {f1:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where en_ewt-ud-{dev,test}.conllu.xz are")
    print(*report(parser.parse_args().folder), sep="\n")


if __name__ == "__main__":
    main()
