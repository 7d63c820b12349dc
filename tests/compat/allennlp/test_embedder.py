"""`ElmoEmbedder`: sentences and files → all layers."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.golden.cases import load_case

from elmokit.compat.allennlp import ElmoEmbedder
from elmokit.compat.allennlp.embedder import OutputFormat

Files = tuple[str, str]
LINES = ["The river bank flooded .", "Hello", "She robbed the bank ."]


def test_recorded_numbers_batch_after_batch(shared: Path, fixture_files: Files) -> None:
    case = load_case("fixture_stateful_batches_of_3", shared / "golden")
    embedder = ElmoEmbedder(*fixture_files)
    for number, sentences in enumerate(case.batches):
        recorded = case.arrays[f"b{number}_layers"]
        for row, (sentence, layers) in enumerate(zip(sentences, embedder.embed_batch(sentences), strict=True)):
            assert layers.shape == (3, len(sentence), 32)
            assert np.abs(layers - recorded[:, row, 1 : len(sentence) + 1]).max(initial=0) <= 5e-6


def test_a_lone_empty_sentence_is_zeros_and_no_sentence(tiny_files: Files) -> None:
    embedder, sentence = ElmoEmbedder(*tiny_files), ["river", "bank"]
    assert embedder.embed_sentence([]).shape == (3, 0, 16)
    first = embedder.embed_sentence(sentence)
    assert np.array_equal(first, ElmoEmbedder(*tiny_files).embed_sentence(sentence))
    assert not np.allclose(first, embedder.embed_sentence(sentence))  # the state was carried on
    assert [layers.shape for layers in embedder.embed_batch([[], sentence])] == [(3, 0, 16), (3, 2, 16)]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_sentences_in_batches(tiny_files: Files, batch_size: int) -> None:
    sentences = [line.split() for line in LINES]
    found = list(ElmoEmbedder(*tiny_files).embed_sentences(iter(sentences), batch_size))
    embedder = ElmoEmbedder(*tiny_files)
    expected = [x for n in range(0, 3, batch_size) for x in embedder.embed_batch(sentences[n : n + batch_size])]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_file(tiny_files: Files, tmp_path: Path) -> None:
    text, path = "\n".join(LINES) + "\n", tmp_path / "out.hdf5"
    expected = list(ElmoEmbedder(*tiny_files).embed_sentences([line.split() for line in LINES], 2))
    choices: dict[OutputFormat, Callable[[Any], Any]] = {"all": np.array, "top": lambda x: x[-1], "average": lambda x: x.mean(0)}
    for output_format, choose in choices.items():
        ElmoEmbedder(*tiny_files).embed_file(io.StringIO(text), path, output_format, batch_size=2)
        with h5py.File(path) as file:
            assert json.loads(file["sentence_to_index"][0]) == {line: str(n) for n, line in enumerate(LINES)}
            for number, layers in enumerate(expected):
                assert np.array_equal(file[str(number)][...], choose(layers))


def test_file_without_table_and_with_sentences_as_names(tiny_files: Files, tmp_path: Path) -> None:
    path, embedder = tmp_path / "out.hdf5", ElmoEmbedder(*tiny_files)
    embedder.embed_file(io.StringIO("a b\nc"), path, forget_sentences=True)
    with h5py.File(path) as file:
        assert set(file) == {"0", "1"}
    with pytest.warns(UserWarning, match=r"'a/b' has a slash"):
        embedder.embed_file(io.StringIO("a/b\nc"), path, use_sentence_keys=True)
    with h5py.File(path) as file:
        assert set(file["a"]) == {"b"}
    embedder.embed_file(io.StringIO("a b\nc"), path, use_sentence_keys=True)
    with h5py.File(path) as file:
        assert set(file) == {"a b", "c"}
    with pytest.raises(ValueError, match="'c' stands there 2 times"):
        embedder.embed_file(io.StringIO("c\nb\nc"), path, use_sentence_keys=True)


def test_a_device_that_is_not_there(tiny_files: Files) -> None:
    with pytest.raises(ValueError, match="cuda_device: 'cuda:99': not there"):
        ElmoEmbedder(*tiny_files, 99)


def test_bad_files_are_refused_and_nothing_is_written(tiny_files: Files, tmp_path: Path) -> None:
    embedder, path = ElmoEmbedder(*tiny_files), tmp_path / "out.hdf5"
    with pytest.raises(ValueError, match=r"empty lines at indexes \[1, 3\]"):
        embedder.embed_file(io.StringIO("a\n\nb\n  \n"), path)
    with pytest.raises(ValueError, match="output_format must be one of all, top, average, not 'mean'"):
        embedder.embed_file(io.StringIO("a\n"), path, "mean")  # type: ignore[arg-type]  # a wrong value on purpose
    assert not list(tmp_path.iterdir())
