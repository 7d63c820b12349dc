"""Sentences → windows of B parallel streams, as a language model reads them in training and in scoring.

Each stream (row) reads one sentence after the other and takes the next unread one when its own is used up; windows
cross the ends of sentences:

    forward     reads  <S> w1 … wn      and is asked for  w1 … wn </S>
    backward    reads  </S> wn … w1     and is asked for  wn … w1 <S>

so each mark is a target in one direction and an input in the other, a sentence of n words gives n + 1 targets in each,
and the same places of both directions' windows hold the same sentences (bilm-tf, `BidirectionalLMDataset`).
Shapes: B rows, T places of a window.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elmokit.text.vocabulary import BOS_ID, EOS_ID

NOTHING = -1
"""Stands where a row has run out of text: not read, not asked for."""

Ids = NDArray[np.int64]


class StreamWindow(NamedTuple):
    """What both directions read and are asked for next, as word ids; `NOTHING` past a row's end."""

    forward_BT: Ids
    forward_targets_BT: Ids
    backward_BT: Ids
    backward_targets_BT: Ids


class SentenceStreams:
    """An iterator over the windows of some sentences.

    It ends after the window in which the last row ran out of text, which is no longer than that row's rest; in that and
    the ones just before, rows that ran out earlier hold `NOTHING` to their end.

    Args:
        sentences: Word ids of each sentence, without marks; it may be endless.
        rows: B, streams side by side.
        window: T, places of a window.
    """

    def __init__(self, sentences: Iterator[Ids], rows: int, window: int) -> None:
        self.sentences = sentences
        self.window = window
        empty = np.empty((4, 0), dtype=np.int64)
        self.unread = [empty for _ in range(rows)]
        """What is left of each row's sentence: the four lines of `StreamWindow`."""

    def __iter__(self) -> Iterator[StreamWindow]:
        """Give itself."""
        return self

    def __next__(self) -> StreamWindow:
        """Give the next window."""
        window_4BT = np.full((4, len(self.unread), self.window), NOTHING, dtype=np.int64)
        longest = 0
        for row in range(len(self.unread)):
            filled = 0
            while filled < self.window and self._has_text(row):
                part = self.unread[row][:, : self.window - filled]
                window_4BT[:, row, filled : filled + part.shape[1]] = part
                self.unread[row] = self.unread[row][:, part.shape[1] :]
                filled += part.shape[1]
            longest = max(longest, filled)
        if not longest:
            raise StopIteration
        return StreamWindow(*window_4BT[:, :, :longest])

    def _has_text(self, row: int) -> bool:
        """Let a row take the next sentence if its own is used up; False if there is none."""
        if self.unread[row].shape[1]:
            return True
        sentence = next(self.sentences, None)
        if sentence is None:
            return False
        self.unread[row] = sentence_lines(sentence)
        return True


def sentence_lines(sentence: Ids) -> Ids:
    """Give what both directions read of one sentence and are asked for: the four lines of `StreamWindow`, (4, n + 1)."""
    marked = np.concatenate([[BOS_ID], sentence, [EOS_ID]])
    turned = marked[::-1]
    return np.stack([marked[:-1], marked[1:], turned[:-1], turned[1:]])
