"""Spans of text in characters → the tokens that lie in them, and one vector of those. N tokens, D width."""

import operator
from collections.abc import Iterable, Sequence

from torch import Tensor

from elmokit.embedding.layers import Pooling, pool
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


class SpanPools:
    """Keeps one vector for each span, text by text.

    Args:
        spans: Each one's text and tokens.
        pooling: How its tokens' vectors become one.
    """

    def __init__(self, spans: Sequence[tuple[int, slice]], pooling: Pooling) -> None:
        self.spans, self.pooling = spans, pooling
        self.texts = list(dict.fromkeys(text for text, _ in spans))
        """The numbers of the texts that have a span."""
        self._spans_of: dict[int, list[int]] = {text: [] for text in self.texts}
        for number, (text, _) in enumerate(spans):
            self._spans_of[text].append(number)
        self._pooled: dict[int, Tensor] = {}

    def add(self, position: int, x_ND: Tensor) -> Tensor:
        """Take what the spans need of the vectors (…, N, D) of `texts[position]`; nothing else of them is kept."""
        for number in self._spans_of[self.texts[position]]:
            self._pooled[number] = pool(x_ND[..., self.spans[number][1], :], self.pooling)
        return x_ND.new_empty(0)

    def vectors(self) -> list[Tensor]:
        """Give the spans' vectors, in their order."""
        return [self._pooled[number] for number in range(len(self.spans))]
