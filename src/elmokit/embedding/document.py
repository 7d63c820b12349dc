"""Documents of any length → vectors, in memory or straight into a file.

L layers (the word vectors counted), N tokens of all sentences, D = 2P width.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elmokit.atomic import atomic_path
from elmokit.config import ElmoConfig
from elmokit.embedding.layers import Layers
from elmokit.embedding.room import reserve
from elmokit.embedding.windows import read_in_windows, reading
from elmokit.embedding.words import WordVectors
from elmokit.kernels.engine import Engine
from elmokit.text.readers import WordReader
from elmokit.text.sentences import split_sentences
from elmokit.text.tokenizers import get_tokenizer

Document = str | Sequence[str] | Sequence[Sequence[str]]
"""A text, the words of one sentence, or the words of several."""


def document_sentences(document: Document, config: ElmoConfig) -> list[list[str]]:
    """Give the words of a document's sentences.

    Args:
        document: A text is split into sentences and words by the model's rules; a list of words is one sentence.
        config: The model's.

    Raises:
        ValueError: Neither of these; names the first wrong item.
    """
    if isinstance(document, str):
        tokenize = get_tokenizer(config.text.tokenizer)
        language = config.languages[0] if config.languages else "en"
        return [[token.text for token in tokenize(sentence.text)] for sentence in split_sentences(document, language)]
    items: list[object] = list(document)
    words = [item for item in items if isinstance(item, str)]
    if words and len(words) == len(items):
        return [words]
    return [_words(item, number) for number, item in enumerate(items)]


def _words(sentence: object, number: int) -> list[str]:
    """Check one sentence of a list of them."""
    words = list(sentence) if isinstance(sentence, Iterable) and not isinstance(sentence, str) else [None]
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"document[{number}] is {sentence!r:.60}: expected all words (str), or all lists of words")
    return [str(word) for word in words]


@torch.no_grad()
def embed_document(
    engine: Engine, reader: WordReader, sentences: Sequence[Sequence[str]], *, layers: Layers, window: int, out: Any
) -> Any:
    """Compute the vectors of all tokens, the state carried from sentence to sentence.

    Args:
        engine: What runs the model.
        reader: How it reads words.
        sentences: Words in the form which the model reads.
        layers: Which layers.
        window: Tokens and marks computed at once.
        out: The path of a `.npy` file, an array-like of the result's shape, or None for an array of its own.

    Returns:
        (N, D), or (L, N, D) for all layers: the array, `out`, or the file memory-mapped.

    Raises:
        ValueError: A window below 1; an `out` of another shape or suffix.
    """
    if window < 1:
        raise ValueError(f"window must be 1 or more, not {window}")
    tokens = sum(map(len, sentences))
    config = engine.bilm.config
    shape = (config.layers + 1, tokens, config.dim) if layers == "all" else (tokens, config.dim)
    text = reading(sentences)
    engine.expect(tokens)

    def fill(array: Any) -> Any:
        read_in_windows(engine, WordVectors(engine, reader), text, array, layers=layers, window=window)
        return array

    if out is None:
        return fill(np.empty(shape, dtype=np.float32))
    if not isinstance(out, str | Path):
        if tuple(getattr(out, "shape", ())) != shape:
            raise ValueError(f"out has the shape {tuple(getattr(out, 'shape', ()))}, this document needs {shape}")
        return fill(out)
    path = Path(out)
    if path.suffix != ".npy":
        raise ValueError(f"{path}: out must be an array or the name of a .npy file")
    with atomic_path(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        reserve(temporary)
        fill(array).flush()
        del array
    return np.load(path, mmap_mode="r")
