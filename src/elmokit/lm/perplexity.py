"""How well a language model predicts a text: perplexity, with the full softmax and in constant memory.

    perplexity = exp(mean over all targets of −log p(target))

The text is one stream in file order, each direction's state carried from sentence to sentence; a sentence of n words
gives n + 1 targets a direction (its end mark counts), each counted once; a word outside the vocabulary is scored as
`<UNK>`. "mean" is exp of the mean of both directions' losses, or "forward" of a model that reads forward alone.

    bits per character = (log2(mean) · targets + 8 · (bytes + 1) for each unknown word) / (characters + 1 for each word)

compares models of different vocabularies, where perplexities do not: what is left of a text when the words that a model
does not know are spelt out after their `<UNK>`, byte by byte, by a code that knows nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from elmokit.lm.language_model import Characters, LanguageModel, lm_batch
from elmokit.lm.score import Scorer
from elmokit.text.lexicon import Lexicon
from elmokit.text.readers import WordReader, word_reader
from elmokit.text.streams import SentenceStreams
from elmokit.text.vocabulary import Vocabulary

Ids = NDArray[np.int64]
SENTENCES_AT_A_TIME = 1024
"""Scored together where each is read by itself."""


@dataclass(frozen=True)
class Perplexity:
    """What `elmo perplexity` prints."""

    forward: float
    """Perplexity of the forward direction."""
    backward: float | None
    """Perplexity of the backward direction; None of a model that reads forward alone."""
    mean: float
    """exp of the mean of both directions' losses; the forward one if there is no other."""
    tokens: int
    """Targets of one direction: words and one end mark for each sentence."""
    oov: float
    """Share of the words (end marks not counted) that are outside the vocabulary."""
    bits_per_character: float | None = None
    """See the head of this file; None where only the ids of words were known."""

    def words(self, digits: int) -> str:
        """Say the perplexities in words, with so many digits behind the point."""
        if self.backward is None:
            return f"forward {self.forward:.{digits}f} (there is no backward direction)"
        return f"forward {self.forward:.{digits}f}, backward {self.backward:.{digits}f}, mean {self.mean:.{digits}f}"


def perplexity(
    model: LanguageModel,
    vocabulary: Vocabulary,
    sentences: Iterable[Sequence[str]],
    reader: WordReader | None = None,
    *,
    alone: bool = False,
) -> Perplexity:
    """Score tokenized sentences; see the head of this file for what is counted.

    Args:
        model: The language model, in evaluation mode.
        vocabulary: The words of its softmax.
        sentences: Words, normalized as in training.
        reader: How the model reads words (`Checkpoint.reader`); None will do for one that reads bytes.
        alone: Whether each sentence is read by itself, from an empty memory, as `Elmo` reads it; else all are one stream.

    Raises:
        ValueError: There is no sentence; or a reader is needed.
    """
    reader = reader or word_reader(model.bilm.config)
    spelling = _Spelling(sentences, vocabulary)
    if alone:
        score = _perplexity_alone(model, vocabulary, spelling, reader)
    else:
        lexicon = Lexicon(vocabulary, reader)
        score = stream_perplexity(model, map(lexicon.ids, spelling), lexicon.characters)
    if not spelling.characters:
        return score
    bits = math.log2(score.mean) * score.tokens + 8 * spelling.spelt_bytes
    return replace(score, bits_per_character=bits / spelling.characters)


@torch.no_grad()
def stream_perplexity(
    model: LanguageModel, sentences: Iterator[Ids], characters: Characters, rows: int = 1, window: int = 256
) -> Perplexity:
    """Score sentences of word ids; ids outside the vocabulary are scored as `<UNK>`.

    Args:
        model: The language model, in evaluation mode.
        sentences: Word ids, without marks.
        characters: Word ids → characters.
        rows: Streams side by side: 1 is exact; more are faster, and each begins without a state.
        window: Places scored at a time; changes no number.

    Raises:
        ValueError: There is no sentence.
    """
    assert not model.training
    size, bidirectional = len(model.head.bias), model.bilm.config.bidirectional
    counter = _WordCounter(sentences, size)
    sums, targets, state = np.zeros(2), 0, None
    for text in SentenceStreams(iter(counter), rows, window):
        batch = lm_batch(text, characters, size, model.head.bias.device, bidirectional=bidirectional)
        losses, state = model(batch, state)
        sums += [losses_N.cpu().double().sum().item() for losses_N in losses]  # not every device has float64
        targets += len(losses.forward_N)
    return _of_sums(model, float(sums[0]), float(sums[1]), targets, counter.unknown / max(counter.words, 1))


def _of_sums(model: LanguageModel, forward: float, backward: float, targets: int, oov: float) -> Perplexity:
    """Make perplexities of the sums of both directions' losses.

    Raises:
        ValueError: There is no target.
    """
    if not targets:
        raise ValueError("there is no sentence to score: the text is empty")
    one, other = math.exp(forward / targets), math.exp(backward / targets)
    if not model.bilm.config.bidirectional:
        return Perplexity(one, None, one, targets, oov)
    return Perplexity(one, other, math.exp((forward + backward) / targets / 2), targets, oov)


def _perplexity_alone(
    model: LanguageModel, vocabulary: Vocabulary, sentences: Iterable[Sequence[str]], reader: WordReader
) -> Perplexity:
    """Score each sentence from its own beginning."""
    scorer, rest = Scorer(model, vocabulary, reader), iter(sentences)
    forward = backward = 0.0
    targets = words = unknown = 0
    while part := list(islice(rest, SENTENCES_AT_A_TIME)):
        for score in scorer(part):
            forward -= float(score.forward.sum())
            backward -= float(score.backward.sum())
            targets += len(score.forward)
            words += len(score.tokens)
            unknown += int(score.unknown.sum())
    return _of_sums(model, forward, backward, targets, unknown / max(words, 1))


class _Spelling:
    """Counts characters, and the bytes of unknown words, while sentences pass by."""

    def __init__(self, sentences: Iterable[Sequence[str]], vocabulary: Vocabulary) -> None:
        self.sentences = sentences
        self.vocabulary = vocabulary
        self.characters = 0
        """With one for what parts each word from the next."""
        self.spelt_bytes = 0
        """Of unknown words, each with one that ends it."""

    def __iter__(self) -> Iterator[Sequence[str]]:
        for sentence in self.sentences:
            self.characters += sum(map(len, sentence)) + len(sentence)
            unknown = [word for word in sentence if word not in self.vocabulary]
            self.spelt_bytes += sum(len(word.encode("utf-8", "surrogatepass")) + 1 for word in unknown)
            yield sentence


class _WordCounter:
    """Counts words and unknown ones while sentences pass by."""

    def __init__(self, sentences: Iterator[Ids], vocabulary_size: int) -> None:
        self.sentences = sentences
        self.vocabulary_size = vocabulary_size
        self.words = 0
        self.unknown = 0

    def __iter__(self) -> Iterator[Ids]:
        for sentence in self.sentences:
            self.words += len(sentence)
            self.unknown += int((sentence >= self.vocabulary_size).sum())
            yield sentence
