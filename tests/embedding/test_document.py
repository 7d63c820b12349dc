"""Documents: the reference's stateful numbers, and files to stream into."""

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.golden.cases import load_case
from torch import Tensor

from elmokit.embedding.document import Document
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.layers import Layers

FIXTURE, TINY = 5e-6, 1e-5

Load = Callable[[str], Elmo]


def check_rows(elmo: Elmo, name: str, root: Path | None, window: int, tolerance: float) -> None:
    """A row's sentences, batch after batch, are one document."""
    case = load_case(name, root) if root else load_case(name)
    rows = min(map(len, case.batches))  # further rows have sentences in some of the batches only
    for row in range(rows):
        sentences = [batch[row] for batch in case.batches]
        recorded = [case.arrays[f"b{n}_layers"][:, row, 1 : len(words) + 1] for n, words in enumerate(sentences)]
        ours = elmo.encode_document(sentences, layers="all", window=window)
        assert abs(ours - np.concatenate(recorded, 1)).max() <= tolerance


@pytest.mark.parametrize("window", [1, 3, 4096])
def test_the_shipped_case(elmo: Elmo, window: int) -> None:
    check_rows(elmo, "tiny_stateful", None, window, TINY)


@pytest.mark.parametrize("window", [5, 4096])
def test_each_row_of_a_stateful_batch(shared: Path, shared_elmo: Load, window: int) -> None:
    check_rows(shared_elmo("fixture_allennlp"), "fixture_stateful_batches_of_3", shared / "golden", window, FIXTURE)


@pytest.mark.parametrize("window", [5, 4096])
def test_dump_bilm_embeddings(shared: Path, shared_elmo: Load, window: int) -> None:
    case = load_case("bilmtf_dump_bilm_embeddings", shared / "golden")
    sentences = [line.split() for line in case.facts["lines"]]
    assert [] in sentences  # an empty sentence moves the state too
    ours = shared_elmo("fixture_allennlp").encode_document(sentences, layers="all", window=window)
    recorded = np.concatenate([case.arrays[f"s{n}"] for n in range(len(sentences))], 1)
    assert ours.shape == recorded.shape
    assert abs(ours - recorded).max() <= FIXTURE


def test_an_empty_sentence_moves_the_state(elmo: Elmo) -> None:
    without, with_empty = (elmo.encode_document(document) for document in ([["a"], ["b"]], [["a"], [], ["b"]]))
    assert np.array_equal(without[0], with_empty[0])
    assert abs(without[1] - with_empty[1]).max() > 1e-3


def test_a_list_of_words_is_one_sentence(elmo: Elmo) -> None:
    words = ["two", "words"]
    np.testing.assert_allclose(elmo.encode_document(words), elmo.encode_tokens([words])[0], atol=5e-5)
    np.testing.assert_allclose(elmo.encode_document([words]), elmo.encode_tokens([words])[0], atol=5e-5)


def test_a_string_is_split_into_sentences_and_words(elmo: Elmo) -> None:
    text = "The bank was robbed. The other bank is steep!"
    split = [["The", "bank", "was", "robbed", "."], ["The", "other", "bank", "is", "steep", "!"]]
    assert np.array_equal(elmo.encode_document(text), elmo.encode_document(split))


@pytest.mark.parametrize("layers", ["mean", "top", "all", 0, 2])
def test_layers_are_those_of_encode_tokens(elmo: Elmo, layers: Layers) -> None:
    words = ["one", "short", "sentence"]
    np.testing.assert_allclose(
        elmo.encode_document(words, layers=layers, window=2), elmo.encode_tokens([words], layers=layers)[0], atol=5e-5
    )


@pytest.mark.parametrize("document", ["", [], [[]], [[], []]])
def test_nothing_gives_an_array_of_no_tokens(elmo: Elmo, document: str | list[list[str]]) -> None:
    assert elmo.encode_document(document).shape == (0, 16)
    assert elmo.encode_document(document, layers="all").shape == (3, 0, 16)


DOCUMENT = [["a", "b", "c"], ["d"], [], ["e", "f"]]


@pytest.mark.parametrize("layers", ["mean", "all"])
def test_into_a_file(elmo: Elmo, tmp_path: Path, layers: Layers) -> None:
    expected = elmo.encode_document(DOCUMENT, layers=layers)
    path = tmp_path / "vectors.npy"
    path.write_text("old")
    mapped = elmo.encode_document(DOCUMENT, layers=layers, window=3, out=path)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_allclose(mapped, expected, atol=5e-5)
    np.testing.assert_array_equal(np.load(path), mapped)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(elmo: Elmo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vectors.npy"
    path.write_text("old")
    monkeypatch.setattr(elmo.engine, "stacks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        elmo.encode_document(DOCUMENT, out=path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["words", "sentences", "text"])
def test_memory_does_not_grow_with_the_document(elmo: Elmo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def nothing(x_SBTP: Sequence[Tensor], _: object) -> list[tuple[list[Tensor], None]]:
        return [([x_BTP, x_BTP], None) for x_BTP in x_SBTP]

    def peak(sentences: int) -> int:
        words = ["a", "b", "c", "d"]
        given: Document = "We sat there.\n" * sentences
        if kind != "text":
            given = words * sentences if kind == "words" else [words] * sentences
        tracemalloc.start()
        try:
            assert len(elmo.encode_document(given, window=512, out=tmp_path / "vectors.npy")) == 4 * sentences
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    monkeypatch.setattr(elmo.engine, "stacks", nothing)
    few, many = peak(1_000), peak(5_000)
    assert many - few < 16_000 * 4  # what is kept for each further token is less than 4 bytes


def test_into_array_likes(elmo: Elmo, tmp_path: Path) -> None:
    expected = elmo.encode_document(DOCUMENT, layers="all")
    array = np.zeros((3, 6, 16), dtype=np.float64)
    assert elmo.encode_document(DOCUMENT, layers="all", out=array) is array
    np.testing.assert_array_equal(array, expected)
    with h5py.File(tmp_path / "out.h5", "w") as file:
        dataset = file.create_dataset("x", (3, 6, 16), "float32")
        elmo.encode_document(DOCUMENT, layers="all", window=2, out=dataset)
        np.testing.assert_allclose(dataset[...], expected, atol=5e-5)


def test_what_cannot_be_done_is_said(elmo: Elmo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out has the shape \(5, 16\), this document needs \(6, 16\)"):
        elmo.encode_document(DOCUMENT, out=np.zeros((5, 16)))
    with pytest.raises(ValueError, match=r"vectors\.bin: out must be an array or the name of a \.npy file"):
        elmo.encode_document(DOCUMENT, out=tmp_path / "vectors.bin")
    with pytest.raises(ValueError, match="window must be 1 or more, not 0"):
        elmo.encode_document(DOCUMENT, window=0)
    with pytest.raises(ValueError, match=r"document\[1\] is 'b': expected all words"):
        elmo.encode_document([["a"], "b"])
    with pytest.raises(ValueError, match="layers=-1: a negative layer"):
        elmo.encode_document(DOCUMENT, layers=-1)


@pytest.mark.parametrize("window", [3, 4096])
def test_a_model_that_reads_forward_alone_gives_the_left_halves(elmo: Elmo, forward_elmo: Elmo, window: int) -> None:
    document = [["the", "river", "bank"], [], ["a"], ["word"] * 9]
    ours, theirs = (e.encode_document(document, layers="all", window=window) for e in (forward_elmo, elmo))
    np.testing.assert_allclose(ours, theirs[..., :8], rtol=0, atol=TINY)
