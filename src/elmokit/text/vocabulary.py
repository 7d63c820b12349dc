"""The words that a language model can predict: `<S> </S> <UNK>`, then the others from frequent to rare.

The order by frequency matters: sampled softmax draws its candidates log-uniformly over the ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from elmokit.atomic import atomic_path
from elmokit.errors import FormatError

BOS: Final = "<S>"
EOS: Final = "</S>"
UNK: Final = "<UNK>"
SPECIAL_WORDS: Final = (BOS, EOS, UNK)
"""The first words of every vocabulary; their places are their ids."""
BOS_ID, EOS_ID, UNK_ID = range(3)


@dataclass(frozen=True)
class Vocabulary:
    """V words, each with its place as its id."""

    words: tuple[str, ...]
    """All words by id; the first three are `<S>`, `</S>` and `<UNK>`."""

    def __post_init__(self) -> None:
        """Refuse words that no `vocab.txt` can hold.

        Raises:
            ValueError: The first word that is wrong, and its line in `vocab.txt`.
        """
        problem = _first_problem(self.words)
        if problem:
            raise ValueError(f"vocabulary, {problem}")

    def __len__(self) -> int:
        """V, the three special words included."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Whether `word` has an id of its own."""
        return word in self._id_of

    @cached_property
    def _id_of(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def ids(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Give the id of each word, 2 (`<UNK>`) for those that are not here."""
        return np.fromiter(map(self._id_of.get, words, repeat(UNK_ID)), np.int64, len(words))

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], size: int | None = None, min_count: int = 1) -> "Vocabulary":
        """Choose the most frequent words; of equally frequent ones those that come first by code points.

        Args:
            counts: How often each word occurs. Literal `<S>`, `</S>` and `<UNK>` are the special words, whatever their counts.
            size: V at most, the three special words included; None for no limit.
            min_count: Rarer words are left out.

        Raises:
            ValueError: `size` leaves no room for a word, or a word is empty or holds a line break.
        """
        if size is not None and size <= len(SPECIAL_WORDS):
            raise ValueError(f"the size of a vocabulary must be above 3 ({' '.join(SPECIAL_WORDS)} are in it), not {size}")
        kept = [(-count, word) for word, count in counts.items() if count >= min_count and word not in SPECIAL_WORDS]
        words = (*SPECIAL_WORDS, *(word for _, word in sorted(kept)))
        return cls(words[:size])

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read `vocab.txt`.

        Raises:
            ValueError: There is no such file.
            FormatError: As `parse`.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"{path}: no such vocabulary file")
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, data: bytes, origin: str) -> "Vocabulary":
        """Read the contents of a `vocab.txt`: UTF-8, one word a line, the line's number (from 0) is the id.

        Args:
            data: The bytes.
            origin: The file's name, for messages.

        Raises:
            FormatError: `origin` and the line that is missing, repeated, empty or not UTF-8.
        """
        try:
            text = data.decode("utf-8", "surrogatepass").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise FormatError(f"{origin}, line {line}: not UTF-8") from error
        # Only \n (or \r\n) ends a line: str.splitlines would cut words at rarer separators too.
        words = tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
        problem = _first_problem(words)
        if problem:
            raise FormatError(f"{origin}, {problem}")
        return cls(words)

    def save(self, path: str | Path) -> None:
        """Write `vocab.txt` as `load` reads it, atomically."""
        with atomic_path(Path(path)) as temporary:
            # surrogatepass: a lone surrogate is no text, but a token list may hold one.
            temporary.write_bytes("".join(f"{word}\n" for word in self.words).encode("utf-8", "surrogatepass"))


def _first_problem(words: Sequence[str]) -> str | None:
    """Say which line of `vocab.txt` is wrong and how, or None."""
    for i, special in enumerate(SPECIAL_WORDS):
        if i >= len(words) or words[i] != special:
            found = repr(words[i]) if i < len(words) else "the end"
            return f"line {i + 1}: expected {special}, found {found}; a vocabulary begins with {' '.join(SPECIAL_WORDS)}"
    first_line: dict[str, int] = {}
    for line, word in enumerate(words, 1):
        if not word:
            return f"line {line}: empty, expected a word"
        if "\n" in word or word.endswith("\r"):
            return f"line {line}: the word {word!r} holds a line break"
        if first_line.setdefault(word, line) != line:
            return f"line {line}: the word {word!r} stands already on line {first_line[word]}"
    return None
