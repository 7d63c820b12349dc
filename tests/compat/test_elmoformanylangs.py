"""The recorded numbers of ELMoForManyLangs, its second call among them, which begins with the state that the first one left."""

from pathlib import Path

import numpy as np
import pytest
from tests.golden.cases import DATA, Case, load_case, parsed

from elmokit import Elmo
from elmokit.compat.elmoformanylangs import Embedder

TINY = DATA / "models/random_tiny"
RANDOM = 1e-4  # the README of the collection
AFTER_TWO_CALLS = 3e-4
"""The backward LSTM of one of the models multiplies the smallest difference: in float32 its rounding alone reaches this."""


def largest(found: list[np.ndarray], case: Case, name: str) -> float:
    """The largest difference from a recorded array, in which sentences stand one after the other."""
    recorded, offsets = case.arrays[name], case.arrays["offsets"]
    differences = []
    for vectors, start, end in zip(found, offsets, offsets[1:], strict=False):
        assert vectors.dtype == np.float32
        assert vectors.shape == recorded[..., start:end, :].shape
        differences.append(np.abs(vectors - recorded[..., start:end, :]).max(initial=0))
    return float(max(differences))


@pytest.mark.parametrize("name", ["manylangs_char_only", "manylangs_word_char"])
def test_recorded_numbers(name: str, shared: Path) -> None:
    golden = shared / "golden"
    case = load_case(name, golden)
    sentences = parsed(case.facts["sentences"])
    for layer, array in {0: "layer_0", 1: "layer_1", 2: "layer_2", -1: "layer_minus1", -2: "layer_minus2"}.items():
        embedder = Embedder(golden / case.facts["directory"])
        assert largest(embedder.sents2elmo(sentences, output_layer=layer), case, array) <= RANDOM
    second = embedder.sents2elmo(sentences, output_layer=-2)
    assert largest(second, case, "second_call_layer_minus2") <= AFTER_TWO_CALLS
    without_state = Embedder(golden / case.facts["directory"]).sents2elmo(sentences, output_layer=-2)
    assert largest(without_state, case, "second_call_layer_minus2") > 1


@pytest.mark.parametrize("name", ["manylangs_char_only", "manylangs_word_char"])
def test_recorded_numbers_in_double_precision(name: str, shared: Path) -> None:
    """What is left of the difference is the recorded numbers' own rounding."""
    golden = shared / "golden"
    case = load_case(name, golden)
    embedder = Embedder(golden / case.facts["directory"])
    embedder._stateful.bilm.double()
    for array in ("layer_minus2", "second_call_layer_minus2"):
        found = embedder.sents2elmo(parsed(case.facts["sentences"]), output_layer=-2)
        assert largest([vectors.astype(np.float32) for vectors in found], case, array) <= RANDOM


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_go_from_the_longest_sentence_to_the_shortest(batch_size: int) -> None:
    sentences = [["a"], ["river", "bank", "mud"], [], ["b", "c"], ["d", "e"]]
    found = Embedder(TINY, batch_size).sents2elmo(sentences, output_layer=-2)
    assert [vectors.shape for vectors in found] == [(3, len(sentence), 16) for sentence in sentences]
    elmo = Elmo.from_pretrained(TINY)
    first = [1, 3, 4, 0, 2][:batch_size]  # these begin without a state
    for number in first:
        alone = elmo.encode_tokens([sentences[number]], layers="all")[0]
        assert np.abs(found[number] - alone).max(initial=0) <= 1e-6
    if batch_size == 1:
        stream = elmo.encode_document([sentences[number] for number in (1, 3, 4, 0, 2)], layers="all")
        assert np.abs(np.concatenate([found[number] for number in (1, 3, 4, 0, 2)], 1) - stream).max() <= 1e-5


def test_wrong_use(tmp_path: Path) -> None:
    embedder = Embedder(TINY)
    assert embedder.sents2elmo([]) == []
    for layer in (-3, 3):
        with pytest.raises(ValueError, match=f"output_layer must be -2, -1 or 0 to 2, not {layer}"):
            embedder.sents2elmo([["a"]], output_layer=layer)
    with pytest.raises(ValueError, match="batch_size must be 1 or more, not 0"):
        Embedder(TINY, batch_size=0)
    with pytest.raises(ValueError, match="sentence 0 is a string"):
        embedder.sents2elmo(["潮水 退 了"])
    with pytest.raises(ValueError, match="nowhere"):
        Embedder(tmp_path / "nowhere")
