"""The table of word vectors changes nothing but the work."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from elmokit.embedding import words as module
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.words import WordVectors
from elmokit.text.batch import WordBatch, word_batch
from elmokit.text.readers import BYTES


class Counting:
    """The network, and how many words it has computed."""

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self.network, self.computed = network, 0

    def __call__(self, chars_UW: Tensor) -> Tensor:
        self.computed += len(chars_UW)
        return self.network(chars_UW)


def batch(text: str) -> WordBatch:
    return word_batch([text.split()], marks=False)


@pytest.mark.parametrize("places", [0, 1, 2, 3, 100])
def test_vectors_are_those_of_the_network(elmo: Elmo, places: int) -> None:
    table = WordVectors(elmo.engine, elmo.reader, places)
    with torch.no_grad():
        for text in ("a b a c", "d", "a b c d e f", "f e d", "g a", "", "a"):
            given = batch(text)
            expected = elmo.bilm.words(torch.from_numpy(given.chars_UW))[torch.from_numpy(given.index_BT)]
            torch.testing.assert_close(table(given), expected, atol=1e-6, rtol=0)
            assert len(table.place_of) <= places
            assert len(set(table.place_of.values())) == len(table.place_of)


def test_words_with_the_same_bytes_share_a_place(elmo: Elmo) -> None:
    table = WordVectors(elmo.engine, elmo.reader)
    with torch.no_grad():
        table(word_batch([["", "\ud800", "x" * 48 + "1", "x" * 48 + "2", "b"]], marks=False))
        again = table(batch("b"))
        expected = elmo.bilm.words(torch.from_numpy(batch("b").chars_UW))
    assert sorted(table.place_of.values()) == [0, 1, 2]
    torch.testing.assert_close(again[0], expected)


def test_a_word_is_computed_again_only_if_it_was_forgotten(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(elmo.engine.word_vectors)
    monkeypatch.setattr(elmo.engine, "word_vectors", counting)
    table = WordVectors(elmo.engine, BYTES, places=3)
    with torch.no_grad():
        table(batch("a b c"))
        assert counting.computed == 3
        table(batch("b a a"))  # c is now the one used longest ago
        assert counting.computed == 3
        table(batch("d"))
        assert counting.computed == 4
        table(batch("a b d"))
        assert counting.computed == 4
        table(batch("c"))
        assert counting.computed == 5


def test_many_words_go_through_in_parts(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    given = batch("a b c d e")
    with torch.no_grad():
        whole = WordVectors(elmo.engine, elmo.reader)(given)
        monkeypatch.setattr(module, "WORDS_AT_ONCE", 2)
        torch.testing.assert_close(WordVectors(elmo.engine, elmo.reader)(given), whole, atol=1e-6, rtol=0)


def test_hits_are_words_that_an_earlier_batch_left(elmo: Elmo) -> None:
    table = WordVectors(elmo.engine, elmo.reader, places=2)
    with torch.no_grad():
        table(batch("a a a b"))  # a repeated word is asked for once
        assert (table.hits, table.asked) == (0, 2)
        table(batch("b c"))
        assert (table.hits, table.asked) == (1, 4)
        table(batch("a"))  # c has taken its place
    assert (table.hits, table.asked) == (1, 5)


def test_the_table_is_as_large_as_it_must_be(elmo: Elmo) -> None:
    table = WordVectors(elmo.engine, elmo.reader, places=10**12)
    with torch.no_grad():
        for n in range(100):
            table(batch(f"w{n}"))
    assert table.table_NP is not None
    assert 100 <= len(table.table_NP) <= 200


def test_no_table_remembers_nothing(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(elmo.engine.word_vectors)
    monkeypatch.setattr(elmo.engine, "word_vectors", counting)
    monkeypatch.setattr(elmo, "word_cache", 0)
    expected = elmo.encode_tokens([["a", "b", "a"]] * 2, batch_size=1)
    assert counting.computed == 2 * (2 + 2)  # marks are words too
    monkeypatch.setattr(elmo, "word_cache", 100)
    for with_table, without in zip(elmo.encode_tokens([["a", "b", "a"]] * 2, batch_size=1), expected, strict=True):
        np.testing.assert_allclose(with_table, without, atol=1e-6)
    assert counting.computed == 2 * (2 + 2) + 4
    monkeypatch.setattr(elmo, "word_cache", 0)
    elmo.encode_document([["a"], ["a"]], window=3)
    assert counting.computed == 2 * (2 + 2) + 4 + 2 * 3


def test_what_fails_halfway_leaves_no_wrong_vector(elmo: Elmo) -> None:
    table = WordVectors(elmo.engine, elmo.reader)
    with torch.no_grad():
        table(batch("a b"))
        expected = WordVectors(elmo.engine, elmo.reader)(batch("c d"))
        keys = [row.tobytes() for row in batch("c d").chars_UW]
        with pytest.raises(IndexError):  # as an allocation may fail after the words have their places
            table._remember(keys, torch.empty(1, table.engine.bilm.config.output_dim))
        torch.testing.assert_close(table(batch("c d")), expected, atol=1e-6, rtol=0)


def test_a_table_has_no_less_than_no_places(elmo: Elmo) -> None:
    with pytest.raises(ValueError, match="word_cache must be 0 or more, not -1"):
        elmo.word_cache = -1
