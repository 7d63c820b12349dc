"""The old programs take sentences as lists of words; a string, which is a list of letters to them, is a mistake here."""

from collections.abc import Sequence


def word_lists(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Give the sentences as lists.

    Raises:
        ValueError: Names the first one that is a string.
    """
    for number, sentence in enumerate(sentences):
        if isinstance(sentence, str):
            raise ValueError(f"sentence {number} is a string, expected a list of words: {sentence[:40]!r}.split()")
    return [list(sentence) for sentence in sentences]
