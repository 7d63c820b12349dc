"""Spelling mistakes in what a model reads, never in what it is asked for: so it learns to live with them.

A misspelt word has one letter too few, one too many, a wrong one, or two that have changed places. Which words of a window
are misspelt, and how, depends on the seed, the step and the word alone: neither on how the batch is divided nor on a restart.
Shapes: U words asked for, W places for a word's characters.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmokit.pretraining.spelled_words import SpelledWords
from elmokit.text.bytes import encode_words
from elmokit.text.vocabulary import SPECIAL_WORDS

FREQUENT_WORDS = 1000
"""The letters that come in are drawn from those of so many frequent words, so that they are of the text's script."""


@dataclass(frozen=True)
class CharacterNoise:
    """Misspells words.

    Args:
        share: Of the distinct words of a window that are misspelt.
        seed: Of the choice.
        words: The corpus' words.
    """

    share: float
    seed: int
    words: SpelledWords

    @cached_property
    def _letters(self) -> str:
        """What may come in."""
        return "".join(self.words.first(FREQUENT_WORDS)[len(SPECIAL_WORDS) :])

    def add_(self, ids_U: NDArray[np.int64], chars_UW: NDArray[Any], step: int) -> None:
        """Misspell some words in place; marks stay as they are.

        Args:
            ids_U: The words.
            chars_UW: Their characters.
            step: Of training.
        """
        chosen = np.flatnonzero((_uniform(ids_U, self.seed, step) < self.share) & (ids_U >= len(SPECIAL_WORDS)))
        if not len(chosen):
            return
        spelled = [
            misspelt(self.words[number], self._letters, np.random.default_rng([self.seed, step, number]))
            for number in ids_U[chosen].tolist()
        ]
        chars_UW[chosen] = encode_words(spelled, chars_UW.shape[1])


def misspelt(word: str, letters: str, random: np.random.Generator) -> str:
    """Give a word with one mistake; a word of one letter loses none and swaps none.

    Args:
        word: One letter or more.
        letters: Those that may come in.
        random: Draws the mistake and its place.
    """
    at = int(random.integers(len(word)))
    new = letters[int(random.integers(len(letters)))]
    kind = int(random.integers(4)) if len(word) > 1 else int(random.integers(2))
    if kind == 0:
        return word[:at] + new + word[at:]
    if kind == 1:
        return word[:at] + new + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at + 1 :]
    at = min(at, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _uniform(ids_U: NDArray[np.int64], seed: int, step: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each id, as if drawn: SplitMix64 (Steele, Lea, Flood 2014)."""
    (start,) = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    z = ids_U.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.float64] = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return mixed
