"""The probe sentences are new to the bundled model: none stands in its training text."""

import csv
import lzma
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from elmokit.explore.uses import read_uses

CORPORA = ("enwiki2014", "simplewiki2018", "novels-en")
RUN = 8  # words in a row that would count as copied
CHARACTERS = 11  # the same in Chinese


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


def chinese(text: str) -> str:
    """The letters alone."""
    return "".join(re.findall(r"\w", text))


def probe_strings() -> set[str]:
    texts = [chinese(use.text) for use in read_uses(language="zh")]
    return {text[i : i + CHARACTERS] for text in texts for i in range(len(text) - CHARACTERS + 1)}


def test_the_chinese_check_would_notice_a_copy() -> None:
    line = chinese("== 果树 == 这批苹果又脆又甜 ，是从山东运来的")
    assert any(line[i : i + CHARACTERS] in probe_strings() for i in range(len(line)))


@pytest.mark.slow  # 28 million characters: half a minute
def test_no_chinese_probe_is_in_the_training_text(shared: Path) -> None:
    unseen = probe_strings()
    with lzma.open(shared / "data/lm-zh/zhwiki2024-simp.train.txt.xz", "rt", encoding="utf-8") as lines:
        for line in map(chinese, lines):
            assert not unseen.intersection(line[i : i + CHARACTERS] for i in range(len(line) - CHARACTERS + 1)), line
