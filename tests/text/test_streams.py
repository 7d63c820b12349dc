"""Windows of parallel streams hold every sentence's words and marks once in each direction."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmokit.text.streams import NOTHING, SentenceStreams, StreamWindow
from elmokit.text.vocabulary import BOS_ID, EOS_ID

Ids = NDArray[np.int64]
Pairs = list[tuple[int, int]]
texts = st.lists(st.lists(st.integers(3, 99), max_size=7), max_size=12)


def sentences_of(text: list[list[int]]) -> Iterator[Ids]:
    return iter([np.array(sentence, dtype=np.int64) for sentence in text])


def pairs_of(sentence: list[int], turned: bool) -> Pairs:
    """What one direction reads of a sentence and is asked for."""
    marked = [BOS_ID, *sentence, EOS_ID][:: -1 if turned else 1]
    return list(pairwise(marked))


def direct(text: list[list[int]], rows: int, window: int, turned: bool) -> list[list[Pairs]]:
    """The windows built by hand: row after row fills its places, taking the next unread sentence when it needs one."""
    unread: list[Pairs] = [[] for _ in range(rows)]
    waiting = [list(sentence) for sentence in text]
    windows: list[list[Pairs]] = []
    while True:
        filled: list[Pairs] = []
        for row in range(rows):
            places: Pairs = []
            while len(places) < window and (unread[row] or waiting):
                unread[row] = unread[row] or pairs_of(waiting.pop(0), turned)
                places.append(unread[row].pop(0))
            filled.append(places)
        if not any(filled):
            return windows
        windows.append(filled)


@given(texts, st.integers(1, 5), st.integers(1, 9))
def test_equal_to_windows_built_by_hand(text: list[list[int]], rows: int, window: int) -> None:
    windows = list(SentenceStreams(sentences_of(text), rows, window))
    for turned in (False, True):
        expected = direct(text, rows, window, turned)
        assert len(windows) == len(expected)
        for ours, by_hand in zip(windows, expected, strict=True):
            read_BT, asked_BT = ours[2:] if turned else ours[:2]
            width = max(map(len, by_hand))
            assert read_BT.shape == asked_BT.shape == (rows, width)
            for row, places in enumerate(by_hand):
                padded = places + [(NOTHING, NOTHING)] * (width - len(places))
                assert list(zip(read_BT[row].tolist(), asked_BT[row].tolist(), strict=True)) == padded


@given(texts, st.integers(1, 5), st.integers(1, 9))
def test_each_target_once_in_each_direction(text: list[list[int]], rows: int, window: int) -> None:
    windows = list(SentenceStreams(sentences_of(text), rows, window))
    for turned in (False, True):
        pairs = [w[2:] if turned else w[:2] for w in windows]
        found = [pair for read, asked in pairs for pair in zip(read.ravel().tolist(), asked.ravel().tolist(), strict=True)]
        expected = [pair for sentence in text for pair in pairs_of(sentence, turned)]
        assert sorted(pair for pair in found if pair != (NOTHING, NOTHING)) == sorted(expected)


@given(texts, st.integers(1, 4), st.integers(1, 9))
def test_the_same_places_of_both_directions_hold_the_same_sentences(text: list[list[int]], rows: int, window: int) -> None:
    """So the distinct words of both go through the character CNN together."""
    numbered = [[1000 * number + place for place, _ in enumerate(sentence)] for number, sentence in enumerate(text, 1)]
    for ours in SentenceStreams(sentences_of(numbered), rows, window):
        assert ((ours.forward_targets_BT == NOTHING) == (ours.backward_targets_BT == NOTHING)).all()
        inner = (ours.forward_BT >= 1000) & (ours.backward_BT >= 1000)
        assert (ours.forward_BT[inner] // 1000 == ours.backward_BT[inner] // 1000).all()


def test_marks_stand_where_they_should() -> None:
    (only,) = SentenceStreams(sentences_of([[7, 8], [], [9]]), 1, 6)
    assert only.forward_BT.tolist() == [[BOS_ID, 7, 8, BOS_ID, BOS_ID, 9]]
    assert only.forward_targets_BT.tolist() == [[7, 8, EOS_ID, EOS_ID, 9, EOS_ID]]
    assert only.backward_BT.tolist() == [[EOS_ID, 8, 7, EOS_ID, EOS_ID, 9]]
    assert only.backward_targets_BT.tolist() == [[8, 7, BOS_ID, BOS_ID, 9, BOS_ID]]


def test_an_endless_text_gives_full_windows() -> None:
    def endless() -> Iterator[Ids]:
        while True:
            yield np.array([5, 6, 7])

    streams = SentenceStreams(endless(), 3, 4)
    for _ in range(20):
        assert all((part != NOTHING).all() for part in next(streams))


@given(texts, st.integers(1, 3), st.integers(1, 5), st.integers(0, 4))
def test_what_is_unread_is_all_that_a_new_start_needs(text: list[list[int]], rows: int, window: int, done: int) -> None:
    source = sentences_of(text)
    streams = SentenceStreams(source, rows, window)
    for _ in range(done):
        next(streams, None)
    resumed = SentenceStreams(source, rows, window)
    resumed.unread = [lines.copy() for lines in streams.unread]
    rest = list(resumed)
    whole = list(SentenceStreams(sentences_of(text), rows, window))[done:]
    assert [list(map(np.ndarray.tolist, w)) for w in rest] == [list(map(np.ndarray.tolist, w)) for w in whole]


def test_no_sentences_give_no_windows() -> None:
    streams = SentenceStreams(iter([]), 2, 3)
    with pytest.raises(StopIteration):
        next(streams)
    assert StreamWindow._fields == ("forward_BT", "forward_targets_BT", "backward_BT", "backward_targets_BT")
