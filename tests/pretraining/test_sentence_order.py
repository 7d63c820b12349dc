"""Sentences pass after pass."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from elmokit.pretraining.corpus import Shard
from elmokit.pretraining.sentence_order import EndlessSentences

SHARD = Shard(np.arange(20, dtype=np.int32), np.array([0, 3, 4, 9, 9, 12, 20]))
SENTENCES = [SHARD[number].tolist() for number in range(6)]


def take(sentences: EndlessSentences, number: int) -> list[list[int]]:
    return [next(sentences).tolist() for _ in range(number)]


def test_each_pass_has_each_sentence_once_in_an_order_of_its_own() -> None:
    sentences = EndlessSentences(SHARD, seed=3)
    passes = [take(sentences, 6) for _ in range(5)]
    assert all(sorted(order) == sorted(SENTENCES) for order in passes)
    assert len({str(order) for order in passes}) == 5


def test_the_seed_decides() -> None:
    assert take(EndlessSentences(SHARD, 3), 20) == take(EndlessSentences(SHARD, 3), 20)
    assert take(EndlessSentences(SHARD, 3), 20) != take(EndlessSentences(SHARD, 4), 20)


def test_file_order_if_asked() -> None:
    assert take(EndlessSentences(SHARD, 3, shuffle=False), 12) == 2 * SENTENCES


@given(st.integers(0, 25), st.booleans())
def test_it_goes_on_from_a_place_that_was_noted(done: int, shuffle: bool) -> None:
    whole = EndlessSentences(SHARD, 1, shuffle)
    take(whole, done)
    resumed = EndlessSentences(SHARD, 1, shuffle)
    resumed.move_to(whole.finished_passes, whole.position)
    assert take(resumed, 10) == take(whole, 10)


def test_passes_are_counted_in_parts() -> None:
    sentences = EndlessSentences(SHARD, 1)
    assert sentences.passes == 0
    take(sentences, 3)
    assert sentences.passes == 0.5
    take(sentences, 3)
    assert sentences.passes == 1
    take(sentences, 9)
    assert sentences.passes == 2.5
