"""The biLM's layers and states are those of AllenNLP and bilm-tf."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.golden.cases import Case, StatefulBiLM, distance, ids_of, load_case, mask_of, parsed, without_marks
from tests.golden.conftest import FIXTURES

from elmokit.checkpoints.checkpoint import build_bilm
from elmokit.checkpoints.load import load_checkpoint
from elmokit.model.bilm import BiLM
from elmokit.text.batch import WordBatch, word_batch
from elmokit.text.bytes import encode_words
from elmokit.text.vocabulary import BOS, EOS

FIXTURE, TINY, RANDOM = 5e-6, 1e-5, 1e-4  # the README of the collection; tiny's weights are random too, but few

ALLENNLP_CASES = {
    "fixture_batched_zero_state": FIXTURE,
    "fixture_official_sentences": FIXTURE,
    "fixture_stateful_batches_of_3": FIXTURE,
    "fixture_stateful_changing_batch_size": FIXTURE,
    "fixture_stateful_empty_sentences": FIXTURE,
    "fixture_zero_then_stateful_same_sentence": FIXTURE,
    "random_original_stateful": RANDOM,
    "random_small_stateful": RANDOM,
}

Models = Callable[[str], BiLM]
Record = Callable[[str, object], None]


def check_allennlp_batches(case: Case, stateful: StatefulBiLM, tolerance: float) -> float:
    """Compare ids, masks, layers and states batch by batch; gives the largest difference."""
    worst = 0.0
    for number, sentences in enumerate(case.batches):
        if not case.is_stateful:
            stateful.state = None
        batch = word_batch(sentences)
        assert np.array_equal(ids_of(word_batch(sentences, marks=False)), case.arrays[f"b{number}_ids"])
        assert np.array_equal(mask_of(batch), case.arrays[f"b{number}_mask"])
        with torch.no_grad():
            layers = stateful(batch)
        differences = [distance(layers, case.tensor(f"b{number}_layers"))]
        for name, ours in zip("hc", stateful.recorded_form(), strict=True):
            if f"b{number}_state_{name}" in case.arrays and not is_overwritten(case, number, name):
                differences.append(distance(ours, case.tensor(f"b{number}_state_{name}")))
        assert max(differences) <= tolerance, f"batch {number}: {differences}"
        worst = max(worst, *differences)
    return worst


def is_overwritten(case: Case, number: int, name: str) -> bool:
    """Whether a state was recorded as a view of AllenNLP's buffer: `tiny_stateful` holds its last state twice."""
    this, later = f"b{number}_state_{name}", f"b{number + 1}_state_{name}"
    return later in case.arrays and np.array_equal(case.arrays[this], case.arrays[later])


def test_tiny_stateful(tiny: BiLM, record_property: Record) -> None:
    record_property("largest difference", check_allennlp_batches(load_case("tiny_stateful"), StatefulBiLM(tiny), TINY))


@pytest.mark.parametrize("name", ALLENNLP_CASES)
def test_allennlp_batches(name: str, golden: Path, model_of: Models, record_property: Record) -> None:
    case = load_case(name, golden)
    stateful = StatefulBiLM(model_of(case.facts["model"]))
    record_property("largest difference", check_allennlp_batches(case, stateful, ALLENNLP_CASES[name]))


def test_a_clip_left_out_would_be_noticed(tiny: BiLM) -> None:
    case = load_case("tiny_stateful")
    layers = [layer for stack in (tiny.forward_stack, tiny.backward_stack) for layer in stack.layers]
    with pytest.MonkeyPatch.context() as patch:
        for layer in layers:
            patch.setattr(layer, "cell_clip", None)
        with pytest.raises(AssertionError, match="batch"):
            check_allennlp_batches(case, StatefulBiLM(tiny), RANDOM)


def test_singles(golden: Path, model_of: Models, record_property: Record) -> None:
    case = load_case("fixture_singles_zero_state", golden)
    bilm = model_of(case.facts["model"])
    offsets, ids, worst = case.arrays["offsets"], [], 0.0
    for number, sentence in enumerate(parsed(case.facts["sentences"])):
        ids.append(ids_of(word_batch([sentence], marks=False))[0])
        with torch.no_grad():
            layers, _ = bilm(word_batch([sentence]))
        recorded = case.tensor("layers")[:, offsets[number] : offsets[number + 1]]
        worst = max(worst, distance(layers[:, 0], recorded))
    record_property("largest difference", worst)
    assert worst <= FIXTURE
    assert np.array_equal(np.concatenate(ids), case.arrays["ids"])


def test_official_top_layers(golden: Path, model_of: Models, record_property: Record) -> None:
    """The files that AllenNLP's own tests compare with."""
    case = load_case("fixture_official_sentences", golden)
    stateful = StatefulBiLM(model_of(case.facts["model"]))
    top: list[list[NDArray[np.float32]]] = [[], [], []]
    for sentences in case.batches:
        batch = word_batch(sentences)
        with torch.no_grad():
            words = without_marks(stateful(batch)[-1], batch)
        for row, sentence in enumerate(sentences):
            top[row].append(words[row, : len(sentence)].numpy())
    worst = 0.0
    for number, ours in enumerate(top):
        with h5py.File(golden / f"official/allennlp/lm_embeddings_{number}.hdf5") as file:
            assert len(file) == len(ours)
            for i, vectors in enumerate(ours):
                worst = max(worst, float(np.abs(np.hstack(file[str(i)][...]) - vectors).max()))
    record_property("largest difference", worst)
    assert worst <= FIXTURE


def test_token_encoder(golden: Path, model_of: Models, record_property: Record) -> None:
    case = load_case("fixture_token_encoder", golden)
    chars_UW = encode_words([BOS, EOS, *case.facts["tokens"]])
    assert np.array_equal(chars_UW[2:] + 1, case.arrays["ids"])
    with torch.no_grad():
        ours = model_of(case.facts["model"]).words(torch.from_numpy(chars_UW))
    recorded = torch.cat([case.tensor("bos")[None], case.tensor("eos")[None], case.tensor("embedding")])
    worst = distance(ours, recorded)
    record_property("largest difference", worst)
    assert worst <= FIXTURE


@pytest.mark.parametrize("name", ["bilmtf_noskip_zero_state", "bilmtf_noskip_stateful"])
def test_without_skip_connections(name: str, golden: Path, model_of: Models, record_property: Record) -> None:
    """bilm-tf; it leaves layer 0 at padding as it is, so only tokens are compared."""
    case = load_case(name, golden)
    stateful, worst = StatefulBiLM(model_of(case.facts["model"])), 0.0
    for number, sentences in enumerate(case.batches):
        if not case.is_stateful:
            stateful.state = None
        batch = word_batch(sentences)
        assert np.array_equal(ids_of(batch), case.arrays[f"b{number}_ids_with_bos_eos"])
        with torch.no_grad():
            layers = stateful(batch)
        worst = max(worst, token_distance(layers, batch, case, number))
    record_property("largest difference", worst)
    assert worst <= FIXTURE


def word_table_folder(case: Case, golden: Path, folder: Path) -> Path:
    """What bilm-tf's users had: the weights with their characters, and word vectors computed from these once for all."""
    official = golden / FIXTURES[case.facts["model"]]
    shutil.copy(official / "options.json", folder)
    shutil.copy(official / "lm_weights.hdf5", folder)
    words = ["<S>", "</S>", "<UNK>", *case.facts["vocabulary"]]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    with h5py.File(folder / "elmo_token_embeddings.hdf5", "w") as file:
        file["embedding"] = case.arrays["token_embeddings"]
    return folder / "elmo_token_embeddings.hdf5"


def test_whole_words(golden: Path, tmp_path: Path, record_property: Record) -> None:
    """bilm-tf with word vectors out of a table in the place of characters."""
    case = load_case("bilmtf_token_input", golden)
    checkpoint = load_checkpoint(word_table_folder(case, golden, tmp_path))
    stateful, worst = StatefulBiLM(build_bilm(checkpoint)), 0.0
    for number, sentences in enumerate(case.batches):
        batch = word_batch(sentences, checkpoint.reader)
        assert np.array_equal(ids_of(batch)[..., 0], case.arrays[f"b{number}_token_ids_with_bos_eos"])
        with torch.no_grad():
            layers = stateful(batch)
        worst = max(worst, token_distance(layers, batch, case, number))
    record_property("largest difference", worst)
    assert worst <= FIXTURE


def test_the_official_table_of_words(golden: Path, model_of: Models, record_property: Record) -> None:
    """Its rows are what the character CNN gives for these words."""
    folder = golden / "official/allennlp"
    checkpoint = load_checkpoint(folder / "elmo_token_embeddings.hdf5")
    assert checkpoint.config.bilm.reads == "whole words"
    assert checkpoint.input_words is not None
    words = [word for word in checkpoint.input_words.ids if word not in ("<S>", "</S>")]
    with torch.no_grad():
        ours = build_bilm(checkpoint).words(torch.from_numpy(checkpoint.reader(words)))
        by_characters = model_of("fixture_allennlp").words(torch.from_numpy(encode_words(words)))
    worst = distance(ours, by_characters)
    record_property("largest difference", worst)
    assert worst <= FIXTURE


def token_distance(layers: torch.Tensor, batch: WordBatch, case: Case, number: int) -> float:
    """Difference at tokens, with and without the marks."""
    with_marks = distance(layers[:, mask_of(batch)], case.tensor(f"b{number}_layers_with_bos_eos")[:, mask_of(batch)])
    mask_BT = case.tensor(f"b{number}_mask")
    words = without_marks(layers, batch).transpose(0, 1)
    return max(
        with_marks, distance(words.transpose(1, 2)[mask_BT], case.tensor(f"b{number}_lm_embeddings").transpose(1, 2)[mask_BT])
    )


def test_dump_bilm_embeddings(golden: Path, model_of: Models, record_property: Record) -> None:
    """One line after the other with the state carried; an empty line moves it too."""
    case = load_case("bilmtf_dump_bilm_embeddings", golden)
    stateful, worst = StatefulBiLM(model_of(case.facts["model"])), 0.0
    for number, line in enumerate(case.facts["lines"]):
        batch = word_batch([line.split()])
        with torch.no_grad():
            words = without_marks(stateful(batch), batch)[:, 0]
        worst = max(worst, distance(words, case.tensor(f"s{number}")))
    record_property("largest difference", worst)
    assert worst <= FIXTURE
