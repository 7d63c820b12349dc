"""Uses of a word: sentences in which it stands, and the vectors a model gives it there.

N uses, L layers (with layer 0 there are L+1 of them), T tokens of a sentence, D features.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elmokit.errors import FormatError
from elmokit.text.files import read_lines
from elmokit.text.sentences import split_sentences

if TYPE_CHECKING:
    from elmokit.embedding.elmo import Elmo
    from elmokit.text.tokenizers import Token

Floats = NDArray[np.float32]

CONTEXT_WORDS = 5  # each side of the target
_CHUNK = 256  # sentences whose vectors of all tokens are held at once


@dataclass(frozen=True)
class Use:
    """One occurrence of a word."""

    word: str
    """The word, as it was asked for."""
    sense: str | None
    """A name of what it means here; None where nobody has said so."""
    text: str
    """The sentence."""
    start: int
    """Where the word begins in `text`, in characters."""
    end: int
    """Where it ends."""


@dataclass(frozen=True)
class UseVectors:
    """What a model gives for N uses; a vector of several tokens is their mean."""

    target_NLD: Floats
    """All layers of the word itself."""
    context_ND: Floats
    """Mean of layer 0 over the five words each side of it: what the context says if its order is ignored."""
    mean_LD: Floats
    """Each layer's mean: the model's own, or that of all tokens of these sentences if it keeps none."""


def read_uses(path: Path | None = None, language: str = "en") -> list[Use]:
    """Read labelled uses: tab separated, a header `word sense sentence`, the word in [brackets] in its sentence.

    Args:
        path: The file; by default a list that comes with elmokit.
        language: Of that list, an ISO 639 code: Chinese for "zh", English for any other.

    Raises:
        FormatError: Names the line that is not so.
    """
    listed = "senses.zh.tsv" if language.split("-")[0] == "zh" else "senses.tsv"
    source = path if path else files("elmokit.explore") / listed
    header, *rows = source.read_text(encoding="utf-8").splitlines()
    if header != "word\tsense\tsentence":
        raise FormatError(f"{source}, line 1: expected the columns word, sense and sentence, not {header!r}")
    return [_parse(row, f"{source}, line {number}") for number, row in enumerate(rows, 2)]


def _parse(row: str, place: str) -> Use:
    """Turn one line into a use."""
    fields = row.split("\t")
    if len(fields) != 3:
        raise FormatError(f"{place}: expected 3 columns, found {len(fields)}")
    word, sense, sentence = fields
    before, bracket, after = sentence.partition(f"[{word}]")
    if not bracket or "[" in before + after:
        raise FormatError(f"{place}: expected [{word}], and nothing else in brackets, in {sentence!r}")
    return Use(word, sense, before + word + after, len(before), len(before) + len(word))


def find_uses(
    lines: Iterable[str], word: str, tokenize: Callable[[str], Sequence["Token"]], language: str = "en"
) -> Iterator[Use]:
    """Find a word in running text: each occurrence in its sentence, upper or lower case.

    An occurrence counts if neither end of it lies inside a longer word: the tokenizer cuts there, or no letter follows.

    Args:
        lines: The text; no sentence goes on from one line to the next.
        word: What to look for.
        tokenize: A tokenizer of `elmokit.text.tokenizers`.
        language: The text's, for the splitting into sentences.
    """
    pattern = re.compile(re.escape(word), re.IGNORECASE)
    for line in lines:
        if not pattern.search(line):
            continue
        for sentence in split_sentences(line, language):
            tokens = tokenize(sentence.text) if pattern.search(sentence.text) else []
            starts, ends = {token.start for token in tokens}, {token.end for token in tokens}
            for match in pattern.finditer(sentence.text):
                start, end = match.span()
                if (start in starts and end in ends) or _stands_alone(sentence.text, start, end):
                    yield Use(word, None, sentence.text, start, end)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether neither a letter nor a digit touches text[start:end]."""
    return not (text[max(start - 1, 0) : start].isalnum() or text[end : end + 1].isalnum())


def read_text_uses(path: Path, word: str, elmo: "Elmo") -> Iterator[Use]:
    """Find a word in a text file, `.gz`, `.xz` and `.zst` too; lines that are not UTF-8 are left out."""
    languages = elmo.config.languages
    return find_uses(
        read_lines(path, errors="skip"), word, lambda text: elmo.tokenize([text])[0], languages[0] if languages else "en"
    )


def encode_uses(elmo: "Elmo", uses: Sequence[Use]) -> UseVectors:
    """Run the model over the sentences and keep what the uses need.

    Raises:
        ValueError: There is no use, or one whose word is in no token.
    """
    if not uses:
        raise ValueError("no use of the word: nothing to encode")
    targets, contexts = [], []
    sums, count = [], 0
    for first in range(0, len(uses), _CHUNK):
        chunk = uses[first : first + _CHUNK]
        tokens = elmo.tokenize([use.text for use in chunk])
        layers = elmo.encode_tokens([[token.text for token in sentence] for sentence in tokens], layers="all")
        for use, sentence, layers_LTD in zip(chunk, tokens, layers, strict=True):
            target = _tokens_of(use, sentence)
            targets.append(layers_LTD[:, target].mean(axis=1))
            around = _words_around(target, sentence)
            contexts.append(layers_LTD[0, around].mean(axis=0) if around else np.zeros_like(layers_LTD[0, 0]))
            sums.append(layers_LTD.sum(axis=1, dtype=np.float64))
            count += len(sentence)
    own = elmo.checkpoint.layer_means_LD
    mean_LD = np.sum(sums, axis=0) / count if own is None else own.numpy()
    return UseVectors(np.stack(targets), np.stack(contexts), mean_LD.astype(np.float32))


def _tokens_of(use: Use, tokens: Sequence["Token"]) -> list[int]:
    """The positions of the tokens that hold the word, or a part of it."""
    found = [i for i, token in enumerate(tokens) if token.start < use.end and token.end > use.start]
    if not found:
        raise ValueError(f"no token at characters {use.start} to {use.end} of {use.text!r}")
    return found


def _words_around(target: Sequence[int], tokens: Sequence["Token"]) -> list[int]:
    """Positions of the five words, not punctuation marks, before and after the target."""
    words = [i for i, token in enumerate(tokens) if any(c.isalnum() for c in token.text)]
    before = [i for i in words if i < target[0]]
    after = [i for i in words if i > target[-1]]
    return before[-CONTEXT_WORDS:] + after[:CONTEXT_WORDS]
