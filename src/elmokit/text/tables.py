"""Words and characters with ids of a model's own, as it was published with: `vocab.txt`, `word.dic`, `char.dic`.

Unlike a `Vocabulary`, which is ours and strict, a table takes its ids as they come: in any order, with gaps, and with
entries that no line of a text file can hold.

U distinct words, W places of a word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

from elmokit.text.vocabulary import BOS, EOS, SPECIAL_WORDS

MANYLANGS_MARKS: Final = ("<bos>", "<eos>", "<oov>")
"""What ELMoForManyLangs calls a sentence's start, its end, and whatever it does not know."""
PADDING: Final = "<pad>"
_BOW, _EOW = "<bow>", "<eow>"
CHARACTER_MARKS: Final = (*MANYLANGS_MARKS, PADDING, _BOW, _EOW)
"""Entries that every table of characters has."""


@dataclass(frozen=True)
class WordTable:
    """Which row of a model's table of words stands for a word."""

    ids: Mapping[str, int]
    """Words with their ids."""
    marks: tuple[str, str, str] = SPECIAL_WORDS
    """What stands in `ids` for `<S>`, for `</S>` and for every word that is not there."""
    longest: int | None = None
    """Words are cut to this many code points before they are looked up; None: never."""

    def __post_init__(self) -> None:
        """Make sure that the marks are there.

        Raises:
            ValueError: Names the mark that is missing; or no character is left of a word.
        """
        _need(self.ids, self.marks, "words")
        if self.longest is not None and self.longest < 1:
            raise ValueError(f"words must keep 1 or more characters, not {self.longest}")

    def rows(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Give the id of each word, (U, 1)."""
        bos, eos, unknown = self.marks
        names = {BOS: bos, EOS: eos}
        entries = (names.get(word) or word[: self.longest] for word in words)
        ids_U = np.fromiter(map(self.ids.get, entries, repeat(self.ids[unknown])), np.int32, len(words))
        return ids_U[:, None]


@dataclass(frozen=True)
class CharacterTable:
    """Ids of code points (ELMoForManyLangs).

        [<eow>] + code points + [<bow>] + <pad> …        with <oov> for unknown ones

    The two marks round a word are exchanged: the program that trained these models did so, and so must their readers.
    """

    ids: Mapping[str, int]
    """Code points, and the six marks, with their ids."""
    max_characters: int = 50
    """W, places for each word with its two marks; longer words are cut at W - 2 code points."""

    def __post_init__(self) -> None:
        """Make sure that the marks are there.

        Raises:
            ValueError: Names the mark that is missing.
        """
        _need(self.ids, CHARACTER_MARKS, "characters")

    def rows(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Give the ids of each word's code points, (U, W); the words `<S>` and `</S>`, `<bos>` and `<eos>` are the marks."""
        bos, eos, unknown = (self.ids[mark] for mark in MANYLANGS_MARKS)
        marks = {BOS: bos, EOS: eos, MANYLANGS_MARKS[0]: bos, MANYLANGS_MARKS[1]: eos}
        before, after = self.ids[_EOW], self.ids[_BOW]
        ids_UW = np.full((len(words), self.max_characters), self.ids[PADDING], np.int32)
        for row_W, word in zip(ids_UW, words, strict=True):
            cut = word[: self.max_characters - 2]
            inside = [marks[cut]] if cut in marks else [self.ids.get(character, unknown) for character in cut]
            row_W[: len(inside) + 2] = before, *inside, after
        return ids_UW


def _need(ids: Mapping[str, int], marks: Sequence[str], kind: str) -> None:
    """Raise ValueError if a mark has no id."""
    for mark in marks:
        if mark not in ids:
            raise ValueError(f"the table of {kind} has no entry {mark}")
