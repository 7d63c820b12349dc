"""A model of three lines, whose vectors are known, in place of a trained one."""

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from elmokit import Elmo, Token

WORDS = ("river", "money", "bank", "deep", "rich", "the", "a", ",", ".")


class ElmoOfWords:
    """Layer 0 is one-hot in the word, +1; layer 1 is the same of the next word (of itself for the last)."""

    config = SimpleNamespace(languages=())
    checkpoint = SimpleNamespace(layer_means_LD=None)

    def tokenize(self, texts: Sequence[str]) -> list[list[Token]]:
        return [[Token(m[0], *m.span()) for m in re.finditer(r"\w+|[^\w\s]", text)] for text in texts]

    def encode_tokens(self, sentences: Sequence[Sequence[str]], layers: str) -> list[NDArray[np.float32]]:
        assert layers == "all"
        return [np.stack([self._one_hot(s), self._one_hot([*s[1:], s[-1]])]) for s in sentences]

    def _one_hot(self, words: Sequence[str]) -> NDArray[np.float32]:
        return 1 + np.eye(len(WORDS), dtype=np.float32)[[WORDS.index(word.lower()) for word in words]]


@pytest.fixture
def elmo_of_words() -> Elmo:
    return cast(Elmo, ElmoOfWords())
