"""Documents of any length → vectors, in memory or straight into a file.

L layers (the word vectors counted), N tokens of all sentences, D = 2P width.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elmokit.atomic import atomic_path
from elmokit.config import ElmoConfig
from elmokit.embedding.layers import Layers
from elmokit.embedding.room import NpyFile
from elmokit.embedding.windows import ReadForms, Words, read_in_windows
from elmokit.embedding.words import WordVectors
from elmokit.errors import is_out_of_memory
from elmokit.text.sentences import iterate_sentences
from elmokit.text.tokenizers import get_tokenizer

Document = str | Sequence[str] | Sequence[Sequence[str]]
"""A text, the words of one sentence, or the words of several."""


def document_sentences(document: Document, config: ElmoConfig) -> Iterable[Words]:
    """Give the words of a document's sentences, as something that can be gone through again and again.

    Args:
        document: A text is split into sentences and words by the model's rules; a list of words is one sentence.
        config: The model's.

    Raises:
        ValueError: Neither of these; names the first wrong item.
    """
    if isinstance(document, str):
        return _Text(document, config)
    items: Sequence[Any] = document if isinstance(document, list | tuple) else list(document)
    if items and all(isinstance(item, str) for item in items):
        return [items]
    return [_words(item, number) for number, item in enumerate(items)]


class _Text:
    """The sentences of a text, cut into words each time anew: that is quick, and all of them at once would take much memory."""

    def __init__(self, text: str, config: ElmoConfig) -> None:
        self.text = text
        self.tokenize = get_tokenizer(config.text.tokenizer)
        self.language = config.languages[0] if config.languages else "en"

    def __iter__(self) -> Iterator[Words]:
        for sentence in iterate_sentences(self.text, self.language):
            yield [token.text for token in self.tokenize(sentence.text)]


def _words(sentence: object, number: int) -> Words:
    """Check one sentence of a list of them."""
    words: Sequence[Any] = [None]
    if isinstance(sentence, Iterable) and not isinstance(sentence, str):
        words = sentence if isinstance(sentence, list | tuple) else list(sentence)  # no copy of what may be long
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"document[{number}] is {sentence!r:.60}: expected all words (str), or all lists of words")
    return words


def check_array(out: Any, shape: tuple[int, ...]) -> None:
    """Refuse an array that cannot take a document's vectors.

    Args:
        out: The array-like.
        shape: That of the vectors.

    Raises:
        ValueError: Another shape or type of numbers, or a tensor.
    """
    if isinstance(out, torch.Tensor):
        raise ValueError("out is a tensor; give out=tensor.numpy(), which shares its memory, or an array")
    if tuple(getattr(out, "shape", ())) != shape:
        raise ValueError(f"out has the shape {tuple(getattr(out, 'shape', ()))}, this document needs {shape}")
    dtype = np.dtype(getattr(out, "dtype", np.float32))
    if dtype.kind != "f":
        raise ValueError(f"out holds {dtype} numbers, which cannot take vectors; make it of float32, or of float16")


@torch.no_grad()
def embed_document(
    word_vectors: WordVectors,
    sentences: Iterable[Words],
    *,
    layers: Layers,
    window: int,
    out: Any,
    read_forms: ReadForms = list,
) -> Any:
    """Compute the vectors of all tokens, the state carried from sentence to sentence.

    Args:
        word_vectors: What gives words' vectors, whose engine runs the model.
        sentences: Words; they are gone through several times.
        layers: Which layers.
        window: Tokens and marks computed at once.
        out: The path of a `.npy` file, which is replaced if it is there; an array-like of floats in the result's shape; or
            None for an array of its own.
        read_forms: Gives words the form which the model reads; by default they have it.

    Returns:
        (N, D), or (L, N, D) for all layers: the array, `out`, or the file memory-mapped.

    Raises:
        ValueError: A window below 1; an `out` of another shape, type or suffix.
        MemoryError: There is too little for windows of this size.
    """
    if window < 1:
        raise ValueError(f"window must be 1 or more, not {window}")
    tokens = sum(map(len, sentences))
    config = word_vectors.engine.bilm.config
    shape = (config.layers + 1, tokens, config.dim) if layers == "all" else (tokens, config.dim)
    word_vectors.engine.expect(tokens)

    def fill(array: Any) -> Any:
        try:
            read_in_windows(word_vectors, sentences, array, layers=layers, window=window, read_forms=read_forms)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(f"no room for window={window} tokens at once; set it lower ({error})") from error
        return array

    if out is None:
        return fill(np.empty(shape, dtype=np.float32))
    if not isinstance(out, str | Path):
        check_array(out, shape)
        return fill(out)
    path = Path(out)
    if path.suffix != ".npy":
        raise ValueError(f"{path}: out must be an array or the name of a .npy file")
    with atomic_path(path) as temporary:
        fill(NpyFile(temporary, shape))
    return np.load(path, mmap_mode="r")
