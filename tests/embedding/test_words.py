"""The table of word vectors changes nothing but the work."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.kernels.test_engine import CHANGES
from tests.kernels.test_gpu_lstm import on_gpu
from torch import Tensor

from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig
from elmokit.embedding import words as module
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.words import WordVectors
from elmokit.model.bilm import BiLM
from elmokit.text.batch import WordBatch, word_batch
from elmokit.text.readers import BYTES


class Counting:
    """The network, and how many words it has computed."""

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self.network, self.computed = network, 0

    def __call__(self, chars_UW: Tensor) -> Tensor:
        self.computed += len(chars_UW)
        return self.network(chars_UW)


def random_elmo() -> Elmo:
    cnn = CharCnnConfig(embedding_dim=4, filters=((1, 4), (3, 8)), highways=1)
    return Elmo.from_config(ElmoConfig(bilm=BiLMConfig(char_cnn=cnn, cell_dim=16, projection_dim=8, layers=2)))


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


@pytest.mark.parametrize("change", CHANGES)
def test_words_are_forgotten_when_weights_change(change: Callable[[BiLM], None]) -> None:
    elmo = random_elmo()
    sentences = [["a", "bank"], ["of", "a", "river"] * 30]
    before = elmo.encode_tokens(sentences)
    change(elmo.bilm)
    found = elmo.encode_tokens(sentences)
    elmo.word_cache = 0
    for ours, expected, old in zip(found, elmo.encode_tokens(sentences), before, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
        assert abs(ours - old).max() > 1e-3


def test_what_cannot_be_noticed_can_be_told() -> None:
    elmo = random_elmo()
    before = elmo.encode_tokens([["zebra"]])[0]
    elmo.bilm.words.embedding.weight.data[ord("z")] += 1  # type: ignore[union-attr, index, operator]  # a character network's
    elmo.engine.forget()
    found = elmo.encode_tokens([["zebra"]])[0]
    elmo.word_cache = 0
    np.testing.assert_allclose(found, elmo.encode_tokens([["zebra"]])[0], atol=1e-6)
    assert abs(found - before).max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_words_are_forgotten_with_their_type_of_numbers(dtype: torch.dtype) -> None:
    elmo = random_elmo()
    before = elmo.encode_tokens([["a", "bank"]])[0]
    elmo.bilm.to(dtype)
    for _ in range(2):
        np.testing.assert_allclose(elmo.encode_tokens([["a", "bank", "a"]])[0][0], before[0], atol=0.1)


@on_gpu
def test_words_are_forgotten_with_their_device() -> None:
    elmo = random_elmo()
    before = elmo.encode_tokens([["a", "bank"]])[0]
    for device in ("cuda", "cpu"):
        np.testing.assert_allclose(elmo.to(device).encode_tokens([["a", "bank"]])[0], before, atol=1e-4)


def test_inference_mode_comes_and_goes() -> None:
    elmo = random_elmo()
    elmo.word_cache = 3
    expected = elmo.encode_tokens([["a", "b"]])[0]
    elmo.word_cache = 3
    with torch.inference_mode():
        elmo.encode_tokens([["a"], ["b", "c"]])
    for words in (["b", "c", "d"], ["a", "b"]):
        found = elmo.encode_tokens([words])[0]
    with torch.inference_mode():
        np.testing.assert_allclose(elmo.encode_tokens([["a", "b"]])[0], expected, atol=1e-6)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("places", [-1, 2.5, "5", None])
def test_places_are_a_whole_number(elmo: Elmo, places: Any) -> None:
    with pytest.raises(ValueError, match=f"word_cache must be a whole number, 0 or more, not {places!r}"):
        elmo.word_cache = places
