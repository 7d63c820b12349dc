"""What users hand over (a text, texts, sentences of words) → sentences of words."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elmokit.config import ElmoConfig
from elmokit.text.batch import WordBatch, word_batch
from elmokit.text.normalize import normalize
from elmokit.text.readers import WordReader
from elmokit.text.tokenizers import Token, get_tokenizer
from elmokit.text.vocabulary import BOS, EOS

Text = str
Words = Sequence[str]
Inputs = Text | Iterable[Text] | Iterable[Words]
"""One text, several texts, or several sentences as lists of words."""


@dataclass(frozen=True)
class Sentences:
    """Inputs as the model takes them."""

    words: list[list[str]]
    """The words of each sentence, as the user wrote them."""
    tokens: list[list[Token]] | None
    """The same with their places in the text; None where words were given."""
    single: bool
    """Whether it was one text, so that one answer goes back."""


def read_inputs(inputs: Inputs, tokenizer: str, warn: bool = True) -> Sentences:
    """Find out what was given, and cut texts into words.

    Args:
        inputs: One text, several texts, or several sentences as lists of words.
        tokenizer: The name of the tokenizer for texts.
        warn: Whether to warn of texts of a single word each, which may have been meant as one sentence.

    Raises:
        ValueError: Neither of these; names the first wrong item.
    """
    if isinstance(inputs, str):
        tokens = [get_tokenizer(tokenizer)(inputs)]
        return Sentences(_texts(tokens), tokens, single=True)
    given: object = inputs
    try:
        items = list(inputs)
    except TypeError as error:
        raise ValueError(_wrong_kind(inputs)) from error
    if isinstance(given, bytes | bytearray):
        raise ValueError(_wrong_kind(inputs))
    if items and all(isinstance(item, str) for item in items):
        tokens = [get_tokenizer(tokenizer)(str(item)) for item in items]
        if warn and len(tokens) > 1 and all(len(sentence) == 1 for sentence in tokens):
            message = f"{len(tokens)} texts of one word each: if they are one sentence, give a list of it, [[...]]"
            warnings.warn(message, stacklevel=3)  # the line that calls the method of `Elmo`
        return Sentences(_texts(tokens), tokens, single=False)
    return Sentences([_checked_words(item, number) for number, item in enumerate(items)], None, single=False)


def _wrong_kind(inputs: object) -> str:
    return f"inputs must be a text, a list of texts or a list of lists of words, not {type(inputs).__name__}"


def _texts(tokens: list[list[Token]]) -> list[list[str]]:
    return [[token.text for token in sentence] for sentence in tokens]


def _checked_words(item: object, number: int) -> list[str]:
    """Check one sentence of words."""
    if isinstance(item, str | bytes) or not isinstance(item, Iterable):
        raise ValueError(
            f"inputs[{number}] is {type(item).__name__}: all inputs must be texts (str), or all lists of words (list of str)"
        )
    words = list(item)
    for position, word in enumerate(words):
        if not isinstance(word, str):
            raise ValueError(f"inputs[{number}][{position}] is {type(word).__name__}, expected a word (str)")
    return [str(word) for word in words]


@dataclass(frozen=True)
class Collate:
    """Inputs → `WordBatch`, by a model's rules. It is small and can be pickled, so that DataLoader workers can have it."""

    config: ElmoConfig
    """Of the model."""
    reader: WordReader
    """How it reads words: `Elmo.reader`."""

    def __call__(self, inputs: Inputs) -> WordBatch:
        """Make a batch, marks round each sentence.

        Args:
            inputs: Sentences as lists of words, or texts, which are split by the model's tokenizer.

        Raises:
            ValueError: Neither of these.
        """
        return self.batch(self.read_forms(read_inputs(inputs, self.config.text.tokenizer).words))

    def batch(self, sentences: Sequence[Words], marks: bool = True) -> WordBatch:
        """Make a batch of words that have the form which the model reads."""
        return word_batch(sentences, self.reader, marks)

    def read_forms(self, sentences: Iterable[Words]) -> list[list[str]]:
        """Normalize words as the model's configuration says; the literal marks stay what they are."""
        text = self.config.text
        if text.normalization == "none" and not text.lowercase:
            return [list(words) for words in sentences]
        return [[word if word in (BOS, EOS) else normalize(word, text) for word in words] for words in sentences]
