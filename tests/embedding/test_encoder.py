"""What becomes of a batch for which there is too little memory, and how batches are made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from elmokit.embedding.elmo import Elmo
from elmokit.embedding.encoder import SMALLEST_WINDOW, SentenceEncoder
from elmokit.model.bilm import BiLMState

SENTENCES = [[f"w{n}"] * (n % 7) for n in range(40)]
Layers = Callable[..., tuple[Tensor, BiLMState]]


def limited(layers_of: Layers, tokens: int, error: Exception) -> Layers:
    """A network that has memory for so many tokens."""

    def run(x_BTP: Tensor, *others: Any, **named: Any) -> tuple[Tensor, BiLMState]:
        if x_BTP.shape[0] * x_BTP.shape[1] > tokens:
            raise error
        return layers_of(x_BTP, *others, **named)

    return run


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory"),
        RuntimeError("could not create a primitive"),  # oneDNN
        MemoryError(),
    ],
)
def test_the_budget_halves_until_it_fits(elmo: Elmo, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    expected = elmo.encode_tokens(SENTENCES)
    monkeypatch.setattr(elmo.engine, "layers_of", limited(elmo.engine.layers_of, 40, error))
    with pytest.warns(UserWarning, match="out of memory: going on with batch_tokens=") as record:
        found = elmo.encode_tokens(SENTENCES)
    assert len(record) == 3  # all 40 sentences take 302 tokens of padding and words: 151, 75, 37
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=0)


def test_a_long_sentence_goes_on_in_windows(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = ["w"] * 600
    expected = elmo.encode_tokens([sentence])[0]
    monkeypatch.setattr(elmo.engine, "layers_of", limited(elmo.engine.layers_of, 300, MemoryError()))
    with pytest.warns(UserWarning, match="batch_tokens=301"):
        found = elmo.encode_tokens([sentence])[0]
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


def test_where_nothing_fits_the_error_is_told(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elmo.engine, "layers_of", limited(elmo.engine.layers_of, 0, MemoryError("none at all")))
    with (
        pytest.warns(UserWarning, match="out of memory"),
        pytest.raises(
            MemoryError, match=r"no room for a sentence of 246 tokens, 248 read at a time; .* with `out` \(none at all\)"
        ),
    ):
        elmo.encode_tokens([["w"] * (SMALLEST_WINDOW - 10)])


def test_other_errors_are_no_reason_to_try_again(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elmo.engine, "layers_of", limited(elmo.engine.layers_of, 0, RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        elmo.encode_tokens([["w"]])


def test_batches_stay_within_budget_and_size(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, ...]] = []
    layers_of = elmo.engine.layers_of

    def watch(x_BTP: Tensor, *others: Any, **named: Any) -> tuple[Tensor, BiLMState]:
        sizes.append(tuple(x_BTP.shape[:2]))
        return layers_of(x_BTP, *others, **named)

    monkeypatch.setattr(elmo.engine, "layers_of", watch)
    elmo.encode_tokens(SENTENCES, batch_tokens=50, batch_size=4)
    assert max(rows * longest for rows, longest in sizes) <= 50
    assert max(rows for rows, _ in sizes) == 4
    assert sum(rows for rows, _ in sizes) == len(SENTENCES)


def test_every_token_is_reported_once(elmo: Elmo) -> None:
    done: list[int] = []
    SentenceEncoder(elmo.word_vectors, batch_tokens=30, advance=done.append)(SENTENCES)
    assert sum(done) == sum(map(len, SENTENCES))
    assert len(done) > 3


def test_a_long_sentences_vectors_stay_where_there_is_room_for_them(elmo: Elmo) -> None:
    made: list[NDArray[np.float32]] = []

    def room(shape: tuple[int, ...]) -> NDArray[np.float32]:
        made.append(np.empty(shape, dtype=np.float32))
        return made[-1]

    long, short = SentenceEncoder(elmo.word_vectors, layers="all", batch_tokens=300, room=room)([["w"] * 600, ["w"] * 5])
    assert [array.shape for array in made] == [(3, 600, 16)]
    assert np.shares_memory(long.numpy(), made[0])
    assert short.untyped_storage().nbytes() == short.nbytes, "a part of a batch does not keep the whole batch alive"
