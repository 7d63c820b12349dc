"""Which words a language model expects at a place of a sentence, from the words on its left, on its right and from both.

    forward     p_f(w) = p(w | words before)
    backward    p_b(w) = p(w | words behind)
    joint       p(w) = p_f(w) · p_b(w) / Σ_v p_f(v) · p_b(v)

The joint one takes both sides for independent witnesses of the word, which they are not; it is the usual way to ask a
biLM for a word between two contexts. V words of the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from elmokit.lm.context import Context
from elmokit.lm.language_model import LanguageModel
from elmokit.text.readers import WordReader
from elmokit.text.vocabulary import Vocabulary


class Candidate(NamedTuple):
    """A word of the vocabulary at the place."""

    word: str
    """The word; `<S>`, `</S>` and `<UNK>` are words of the vocabulary too."""
    probability: float
    """Its probability; those of all V words sum to 1."""


@dataclass(frozen=True)
class Fill:
    """What stands to reason at a place: three lists of candidates, the likeliest first."""

    forward: list[Candidate]
    """From the words before the place."""
    backward: list[Candidate]
    """From the words behind it."""
    joint: list[Candidate]
    """From both: the product of the two, renormalized over the vocabulary."""


def fill(model: LanguageModel, vocabulary: Vocabulary, reader: WordReader, words: Sequence[str], position: int, k: int) -> Fill:
    """Give the likeliest words at a place; the word that stands there is not read.

    Args:
        model: The language model.
        vocabulary: The V words that its softmax predicts.
        reader: How the model reads words.
        words: The sentence, in the form which the model reads.
        position: The place, counted from 0.
        k: Candidates of each list; V at the most.

    Raises:
        ValueError: There is no such place, `k` is below 1, or the model reads forward alone.
    """
    if not 0 <= position < len(words):
        there = f"its places are 0 to {len(words) - 1}" if words else "it has no word"
        raise ValueError(f"position={position}: the sentence has no such place, {there}")
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    forward, backward = Context(model, reader, "forward"), Context(model, reader, "backward")
    forward.read(words[:position])
    backward.read(words[:position:-1])
    forward_V, backward_V = forward.expectation(), backward.expectation()
    joint_V = (forward_V + backward_V).log_softmax(-1)
    return Fill(*(_candidates(log_p_V, vocabulary, k) for log_p_V in (forward_V, backward_V, joint_V)))


def _candidates(log_p_V: Tensor, vocabulary: Vocabulary, k: int) -> list[Candidate]:
    """The k likeliest words."""
    p_K, ids_K = log_p_V.exp().topk(min(k, len(log_p_V)))
    return [Candidate(vocabulary.words[word], p) for word, p in zip(ids_K.tolist(), p_K.tolist(), strict=True)]
