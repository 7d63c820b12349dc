r"""Files of word vectors as word2vec writes them; gensim and many others read both kinds.

    text      "N D\n", then a line "word x1 … xD" for each word, with as many digits as float32 has
    binary    "N D\n", then "word ", D little-endian float32 and "\n" for each word

Neither can hold white space in a word, nor what is no UTF-8, nor a word twice. N words, D width.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Word2vecFormat = Literal["text", "binary"]
_SPACE = re.compile(r"\s")


def writable_words(words: Iterable[str]) -> dict[str, str]:
    """Give the name under which a file can hold each word.

    White space becomes "_". Words that no file can hold, and those whose name another one has already, are left out.

    Returns:
        The words that remain, each with its name.
    """
    named: dict[str, str] = {}
    taken = set()
    for word in words:
        name = _SPACE.sub("_", word)
        if name and name not in taken and _is_utf8(name):
            taken.add(name)
            named[word] = name
    return named


def write_word2vec(path: Path, names: list[str], dim: int, parts: Iterable[NDArray[Any]], form: Word2vecFormat) -> None:
    """Write a file.

    Args:
        path: A new file.
        names: N words that a file can hold.
        dim: D.
        parts: The words' vectors (n, D), a few words at a time.
        form: "text" or "binary".
    """
    rest = iter(names)
    line = " ".join(["%.9g"] * dim)
    with path.open("wb") as file:
        file.write(f"{len(names)} {dim}\n".encode())
        for part_ND in parts:
            for vector_D, name in zip(np.asarray(part_ND, dtype="<f4"), rest, strict=False):
                numbers = vector_D.tobytes() if form == "binary" else (line % tuple(vector_D.tolist())).encode()
                file.write(name.encode() + b" " + numbers + b"\n")


def _is_utf8(word: str) -> bool:
    """Whether it has no lone surrogate."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
