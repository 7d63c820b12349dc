"""Sentences → distinct words and where they stand; sentences → batches of a token budget."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.text.batch import chunks, token_budget_batches, word_batch
from elmokit.text.bytes import encode_words
from elmokit.text.readers import ByteReader, WordReader

sentences = st.lists(st.lists(st.text(max_size=5), max_size=6), max_size=6)


@given(sentences, st.booleans(), st.sampled_from([3, 12, 50]))
def test_every_position_finds_its_words_characters(text: list[list[str]], marks: bool, max_characters: int) -> None:
    batch = word_batch(text, WordReader(ByteReader(max_characters)), marks)
    marked = [["<S>", *sentence, "</S>"] if marks else sentence for sentence in text]
    assert batch.lengths_B.tolist() == [len(sentence) for sentence in marked]
    assert batch.index_BT.shape == (len(text), max((len(sentence) for sentence in marked), default=0))
    for row, sentence in enumerate(marked):
        chars = batch.chars_UW[batch.index_BT[row, : len(sentence)]]
        np.testing.assert_array_equal(chars, encode_words(sentence, max_characters))
    assert len(batch.chars_UW) == len({word for sentence in marked for word in sentence}), "each distinct word once"
    assert [array.dtype.name for array in batch] == ["int16", "int64", "int64"]


def test_positions_past_a_sentence_name_some_word() -> None:
    """So that looking them up is no error; the model takes no notice of them."""
    batch = word_batch([["a"], ["b", "c", "d"]])
    assert batch.index_BT.min() >= 0
    assert batch.index_BT.max() < len(batch.chars_UW)
    assert batch.lengths_B.tolist() == [3, 5]


def test_no_sentences() -> None:
    batch = word_batch([])
    assert batch.chars_UW.shape == (0, 50)
    assert batch.index_BT.shape == (0, 0)
    assert batch.lengths_B.shape == (0,)


lengths = st.lists(st.integers(0, 30), max_size=30)


@given(lengths, st.integers(1, 60), st.none() | st.integers(1, 5))
def test_batches_keep_the_budget(sizes: list[int], batch_tokens: int, batch_size: int | None) -> None:
    batches = token_budget_batches(iter(sizes), batch_tokens, batch_size)
    assert sorted(position for batch in batches for position in batch) == list(range(len(sizes))), "each sentence once"
    flat = [sizes[position] for batch in batches for position in batch]
    assert flat == sorted(flat, reverse=True), "longest first, so that little is padding"
    for batch in batches:
        assert batch
        assert len(batch) == 1 or len(batch) * sizes[batch[0]] <= batch_tokens
        assert batch_size is None or len(batch) <= batch_size


@given(lengths, st.integers(1, 60), st.none() | st.integers(1, 5))
def test_no_batch_could_take_the_next_sentence(sizes: list[int], batch_tokens: int, batch_size: int | None) -> None:
    for batch in token_budget_batches(sizes, batch_tokens, batch_size)[:-1]:
        assert (len(batch) + 1) * sizes[batch[0]] > batch_tokens or len(batch) == batch_size


def test_equal_lengths_keep_their_order() -> None:
    assert token_budget_batches([4, 4, 9, 4], 12) == [[2], [0, 1, 3]]


@pytest.mark.parametrize(("batch_tokens", "batch_size", "said"), [(0, None, "batch_tokens"), (-3, 2, "-3"), (8, 0, "batch_size")])
def test_a_budget_below_1_is_refused(batch_tokens: int, batch_size: int | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        token_budget_batches([1, 2], batch_tokens, batch_size)


@given(st.lists(st.text(max_size=9)), st.integers(1, 5))
def test_chunks_lose_nothing_and_are_read_one_at_a_time(texts: list[str], batch_tokens: int) -> None:
    read = 0

    def counted() -> Iterator[str]:
        nonlocal read
        for text in texts:
            read += 1
            yield text

    gathered: list[str] = []
    for chunk in chunks(counted(), len, batch_tokens):
        gathered += chunk
        assert read == len(gathered)
        assert sum(map(len, chunk[:-1])) < 4 * batch_tokens
        assert sum(map(len, chunk)) >= 4 * batch_tokens or gathered == texts
    assert gathered == texts
