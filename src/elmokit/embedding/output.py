"""Files of vectors: what all their formats share. A writer takes one text after the other and keeps none.

L layers (the word vectors counted), N tokens of a text, D width of a vector.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elmokit.embedding.rows import Row
from elmokit.text.tokenizers import Token

Dtype = Literal["float32", "float16"]

TOKENS_AT_ONCE = 8192
"""Tokens that go to the file together, so that a text of any length takes bounded memory."""


class Embedded(NamedTuple):
    """A text with its vectors."""

    row: Row
    """Where it comes from."""
    tokens: list[Token]
    """Its words."""
    vectors: NDArray[np.float32]
    """(N, D), or (L, N, D) for all layers; without N if they are pooled."""


@dataclass(frozen=True)
class Form:
    """What a file of vectors holds."""

    width: int
    """D, numbers in a vector of one layer."""
    layers: int | None
    """L if all layers are kept, None for one vector a token."""
    pooled: bool
    """Whether a text has one vector rather than one a token."""
    dtype: Dtype
    """How numbers are stored."""
    ids: bool
    """Whether the input has a column of ids, some of which may be null."""


def stored(vectors: NDArray[np.float32], row: Row, dtype: Dtype) -> NDArray[Any]:
    """Give a text's vectors, or some of them, as they are stored.

    Raises:
        ValueError: A number is too large for float16; names the row.
    """
    if dtype == "float32":
        return vectors
    with np.errstate(over="ignore"):  # said below, with what to do about it
        halves = vectors.astype(np.float16)
    finite = np.isfinite(vectors) if np.isinf(halves).any() else None
    if finite is not None and np.isinf(halves[finite]).any():
        limit, largest = np.finfo(np.float16).max, np.abs(vectors[finite]).max()
        raise ValueError(f"--dtype float16 holds numbers up to {limit:,.0f}, row {row.number} has {largest:,.0f}; store float32")
    return halves


Writer = Callable[[Embedded], None]
OpenWriter = Callable[[Path, Form], AbstractContextManager[Writer]]
"""Opens a new file; it is complete when the context ends without an error."""
