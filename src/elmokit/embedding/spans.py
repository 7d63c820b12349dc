"""Spans of text in characters → the tokens that lie in them."""

import operator
from collections.abc import Iterable, Sequence

from elmokit.text.tokenizers import Token

Span = tuple[int, int, int]
"""(number of the text, start, end) in characters; the end is not included."""


def tokens_of_spans(spans: Iterable[Span], texts: Sequence[str], tokens: Sequence[Sequence[Token]]) -> list[tuple[int, slice]]:
    """Find the tokens that overlap each span.

    Args:
        spans: What to look for.
        texts: The texts that they number.
        tokens: The tokens of each text.

    Returns:
        For each span the number of its text, and its tokens as a slice.

    Raises:
        ValueError: A span that is no span, lies outside its text, or has no token in it.
    """
    return [_tokens_of_span(span, texts, tokens) for span in spans]


def _tokens_of_span(span: Span, texts: Sequence[str], tokens: Sequence[Sequence[Token]]) -> tuple[int, slice]:
    try:
        number, start, end = map(operator.index, span)
    except (TypeError, ValueError) as error:
        raise ValueError(f"span {span!r}: expected three whole numbers (text, start, end)") from error
    if not 0 <= number < len(texts):
        raise ValueError(f"span {span!r}: there is no text {number}; texts are numbered from 0 to {len(texts) - 1}")
    if not 0 <= start < end <= len(texts[number]):
        raise ValueError(f"span {span!r}: expected 0 ≤ start < end ≤ {len(texts[number])}, the length of text {number}")
    inside = [n for n, token in enumerate(tokens[number]) if token.start < end and token.end > start]
    if not inside:
        raise ValueError(f"span {span!r}: there is no token in {texts[number][start:end]!r}")
    return number, slice(inside[0], inside[-1] + 1)
