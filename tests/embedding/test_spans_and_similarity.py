"""Vectors of spans, and cosines."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from elmokit.embedding.elmo import Elmo

TEXTS = ["I sat by the river bank.", "no span", "Banks can't fail"]


def test_a_span_is_the_mean_of_the_tokens_it_touches(elmo: Elmo) -> None:
    tokens = elmo.encode_tokens(TEXTS, layers="all")
    spans = [(2, 0, 5), (0, 13, 23), (0, 15, 16), (0, 17, 20), (2, 7, 9), (0, 0, 24)]
    expected = [tokens[2][:, :1], tokens[0][:, 4:6], tokens[0][:, 4:5], tokens[0][:, 4:6], tokens[2][:, 1:3], tokens[0]]
    found = elmo.encode_spans(TEXTS, spans, layers="all")
    assert found.shape == (6, 3, 16)
    np.testing.assert_allclose(found, np.stack([x.mean(1) for x in expected]), atol=5e-5)
    np.testing.assert_allclose(elmo.encode_spans(TEXTS, spans), found.mean(1), atol=5e-5)
    by_max = elmo.encode_spans(TEXTS, spans, layers="all", pooling="max")
    np.testing.assert_allclose(by_max, np.stack([x.max(1) for x in expected]), atol=5e-5)


def test_forms_of_the_answer(elmo: Elmo) -> None:
    one = elmo.encode_spans(TEXTS[0], [(0, 0, 1)])
    np.testing.assert_allclose(one, elmo.encode_tokens(TEXTS[0])[:1], atol=5e-5)
    assert elmo.encode_spans(TEXTS, []).shape == (0, 16)
    assert isinstance(elmo.encode_spans(TEXTS, [(0, 0, 1)], convert_to_tensor=True), torch.Tensor)
    unit = elmo.encode_spans(TEXTS, [(0, 0, 1), (2, 0, 9)], normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), [1, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((0, 1, 2), r"span \(0, 1, 2\): there is no token in ' '"),
        ((3, 0, 1), r"span \(3, 0, 1\): there is no text 3; texts are numbered from 0 to 2"),
        ((-1, 0, 1), "there is no text -1"),
        ((0, 3, 3), "expected 0 ≤ start < end ≤ 24, the length of text 0"),
        ((0, -2, 3), "expected 0 ≤ start < end"),
        ((0, 20, 25), "expected 0 ≤ start < end"),
        ((0, 1), r"span \(0, 1\): expected three whole numbers"),
        ((0, 1.5, 2), "expected three whole numbers"),
    ],
)
def test_a_span_that_is_none(elmo: Elmo, span: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        elmo.encode_spans(TEXTS, [(0, 0, 1), span])


def test_spans_need_texts(elmo: Elmo) -> None:
    with pytest.raises(ValueError, match="these are split into words already"):
        elmo.encode_spans([["a", "b"]], [(0, 0, 1)])  # type: ignore[list-item]  # what a user may try


@pytest.fixture(scope="module")
def centered(elmo: Elmo) -> Elmo:
    """The model with layer means."""
    means_LD = torch.from_numpy(elmo.encode_tokens(" ".join(TEXTS), layers="all").mean(1))
    return Elmo(dataclasses.replace(elmo.checkpoint, bilm=elmo.bilm.state_dict(), layer_means_LD=means_LD))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_cosines_raw_and_centered(centered: Elmo) -> None:
    a, b = centered.encode(TEXTS), centered.encode(TEXTS[:2])
    means_LD = centered.checkpoint.layer_means_LD
    assert means_LD is not None
    mean = means_LD.mean(0).numpy()
    raw, middle = centered.similarity(a, b, center=False), centered.similarity(a, b)
    assert raw.shape == middle.shape == (3, 2)
    for n in range(3):
        for m in range(2):
            assert raw[n, m] == pytest.approx(cosine(a[n], b[m]), abs=1e-5)
            assert middle[n, m] == pytest.approx(cosine(a[n] - mean, b[m] - mean), abs=1e-5)


@pytest.mark.parametrize("layers", ["top", 0, 1])
def test_the_mean_is_that_of_the_layers(centered: Elmo, layers: Any) -> None:
    a = centered.encode(TEXTS, layers=layers)
    means_LD = centered.checkpoint.layer_means_LD
    assert means_LD is not None
    mean = means_LD[-1 if layers == "top" else layers].numpy()
    found = centered.similarity(a, a[0], layers=layers)
    assert found[1, 0] == pytest.approx(cosine(a[1] - mean, a[0] - mean), abs=1e-5)


def test_forms_of_vectors(centered: Elmo) -> None:
    a = centered.encode(TEXTS)
    assert centered.similarity(a[0], a[1]).shape == (1, 1)
    assert centered.similarity(a.tolist(), a.astype("float64")).dtype == np.float32
    tensor = centered.similarity(torch.from_numpy(a), a)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor.diagonal().numpy(), np.ones(3), atol=1e-6)
    assert centered.similarity(np.zeros(16), a, center=False).tolist() == [[0, 0, 0]]


def test_what_cannot_be_compared(elmo: Elmo, centered: Elmo) -> None:
    a = elmo.encode(TEXTS)
    with pytest.raises(ValueError, match="no layer means, so its vectors cannot be centered; say center=False"):
        elmo.similarity(a, a)
    with pytest.raises(ValueError, match=r"b must be an array of vectors \(N, 16\), not of shape \(3, 15\)"):
        centered.similarity(a, a[:, 1:])
    with pytest.raises(ValueError, match="a must be an array of vectors"):
        centered.similarity([["x"]], a)
    with pytest.raises(ValueError, match='layers="all" gives several vectors a token'):
        centered.similarity(a, a, layers="all")
