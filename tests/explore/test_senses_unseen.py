"""The probe sentences are new to the bundled model: none stands in its training text."""

import csv
import lzma
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

CORPORA = ("enwiki2014", "simplewiki2018", "novels-en")
RUN = 8  # words in a row that would count as copied


def plain_words(text: str) -> list[str]:
    """Lower-case words and numbers alone, so that case, punctuation and spaces hide nothing."""
    return re.findall(r"\w+", text.lower())


def runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    """All runs of eight words; every probe sentence has at least eight, so it is made of them."""
    return zip(*(words[i:] for i in range(RUN)), strict=False)


def probe_runs() -> set[tuple[str, ...]]:
    text = (files("elmokit.explore") / "senses.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {run for row in rows for run in runs(plain_words(row["sentence"]))}


def test_the_check_would_notice_a_copy() -> None:
    line = "= X = Once, WE pulled the canoe -- onto the muddy bank  and waited for the rain."
    assert not probe_runs().isdisjoint(runs(plain_words(line)))


@pytest.mark.slow  # 450 MB of text: a minute or two
@pytest.mark.parametrize("corpus", CORPORA)
def test_no_probe_is_in_the_training_text(shared: Path, corpus: str) -> None:
    unseen = probe_runs()
    found = set()
    with lzma.open(shared / f"data/lm-en/{corpus}.train.txt.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            found |= unseen.intersection(runs(plain_words(line)))
    assert not found
