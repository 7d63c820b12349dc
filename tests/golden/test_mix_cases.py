"""The mix of layers and its gradients are those of AllenNLP and bilm-tf."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.golden.cases import Case, StatefulBiLM, distance, ids_of, load_case, mask_of, without_marks
from torch import Tensor

from elmokit.model.bilm import BiLM
from elmokit.model.scalar_mix import ScalarMix
from elmokit.text.batch import word_batch

FIXTURE = 5e-6
GRADIENT = 1e-5

Models = Callable[[str], BiLM]
Record = Callable[[str, object], None]


def mixes_of(case: Case) -> list[ScalarMix]:
    """The mixes that the recorded call made."""
    call = case.facts["call"]
    settings = call["set_after_construction"] or [
        {"scalar_parameters": call["scalar_mix_parameters"], "gamma": 1.0} for _ in range(call["num_output_representations"])
    ]
    mixes = []
    for setting in settings:
        mix = ScalarMix(3, layer_norm=call["do_layer_norm"], weights=setting["scalar_parameters"])
        torch.nn.init.constant_(mix.gamma, setting["gamma"])
        mixes.append(mix)
    return mixes


def check_elmo_module(case: Case, bilm: BiLM) -> float:
    """Compare every mix of every batch, padding included."""
    stateful, worst = StatefulBiLM(bilm), 0.0
    keep = case.facts["call"]["keep_sentence_boundaries"]
    for number, sentences in enumerate(case.batches):
        batch = word_batch(sentences)
        mask_BT = mask_of(batch)
        assert np.array_equal(ids_of(word_batch(sentences, marks=False)), case.arrays[f"b{number}_ids"])
        with torch.no_grad():
            layers = stateful(batch)
            for i, mix in enumerate(mixes_of(case)):
                ours = mix(layers, mask_BT)
                ours = ours if keep else without_marks(ours, batch)
                worst = max(worst, distance(ours, case.tensor(f"b{number}_rep{i}")))
    assert worst <= FIXTURE
    return worst


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("norm", [0, 1])
def test_tiny_elmo_module(norm: int, keep: int, tiny: BiLM, record_property: Record) -> None:
    record_property("largest difference", check_elmo_module(load_case(f"tiny_elmo_ln{norm}_keep{keep}"), tiny))


@pytest.mark.parametrize("mix", ["default", "given", "set"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("norm", [0, 1])
def test_elmo_module(norm: int, keep: int, mix: str, golden: Path, model_of: Models, record_property: Record) -> None:
    case = load_case(f"elmo_ln{norm}_keep{keep}_{mix}", golden)
    record_property("largest difference", check_elmo_module(case, model_of(case.facts["model"])))


@pytest.mark.parametrize("fixture", ["allenfixture", "ownfixture"])
def test_bilm_tf_weight_layers(fixture: str, golden: Path, model_of: Models, record_property: Record) -> None:
    """bilm-tf's layer norm does not count the sentence marks; its values at padding are its own."""
    case = load_case(f"bilmtf_{fixture}_weight_layers", golden)
    stateful, worst = StatefulBiLM(model_of(case.facts["model"])), 0.0
    weights, gamma = case.facts["ELMo_W"], case.facts["ELMo_gamma"]
    for number, sentences in enumerate(case.batches):
        batch, mask_BT = word_batch(sentences), case.tensor(f"b{number}_mask")
        with torch.no_grad():
            layers = without_marks(stateful(batch), batch)
            for name, layer_norm in (("plain", False), ("layernorm", True)):
                mix = ScalarMix(3, layer_norm=layer_norm, weights=weights, epsilon=1e-12)
                torch.nn.init.constant_(mix.gamma, gamma)
                assert float(mix.penalty(case.facts["l2_coef"])) == pytest.approx(case.facts["regularization"], rel=1e-6)
                recorded = case.tensor(f"b{number}_{name}")
                worst = max(worst, distance(mix(layers, mask_BT)[mask_BT], recorded[mask_BT]))
        worst = max(worst, distance(layers[-1][mask_BT], case.tensor(f"b{number}_top")[mask_BT]))
    record_property("largest difference", worst)
    assert worst <= FIXTURE


def check_gradients(case: Case, bilm: BiLM) -> float:
    """Compare each gradient relative to its largest number where that is above 1."""
    sentences = case.batches[0]
    batch, mix = word_batch(sentences), ScalarMix(3)
    assert np.array_equal(ids_of(word_batch(sentences, marks=False)), case.arrays["ids"])
    bilm.zero_grad()
    layers, _ = bilm(batch)
    representation = without_marks(mix(layers, mask_of(batch)), batch)
    torch.autograd.backward((representation * case.tensor("upstream")).sum())
    ours = allennlp_gradients(bilm, mix)
    recorded = {name.removeprefix("grad/"): case.tensor(name) for name in case.arrays if name.startswith("grad/")}
    assert ours.keys() == recorded.keys()
    differences = {name: distance(ours[name], recorded[name]) / max(1.0, float(recorded[name].abs().max())) for name in ours}
    assert max(differences.values()) <= GRADIENT, differences
    return max(differences.values())


def allennlp_gradients(bilm: BiLM, mix: ScalarMix) -> dict[str, Tensor]:
    """Our gradients under AllenNLP's names, in its layouts."""
    gradients = {name: p.grad for name, p in bilm.named_parameters() if p.grad is not None}
    assert len(gradients) == sum(1 for _ in bilm.parameters())
    found: dict[str, Tensor] = {}
    words = "_elmo_lstm._token_embedder"
    sizes = bilm.config.byte_cnn
    embedding = gradients["words.embedding.weight"]
    found[f"{words}._char_embedding_weights"] = torch.cat([torch.zeros(1, embedding.shape[1]), embedding])  # row 0: masked
    for kind in ("weight", "bias"):
        for i in range(len(sizes.filters)):
            found[f"{words}.char_conv_{i}.{kind}"] = gradients[f"words.convolutions.{i}.{kind}"]
        for k in range(sizes.highways):
            transform, carry = (gradients[f"words.highways.{k}.{gate}.{kind}"] for gate in ("transform", "carry"))
            found[f"{words}._highways._layers.{k}.{kind}"] = torch.cat([transform, -carry])  # its gate is 1 − ours
        found[f"{words}._projection.{kind}"] = gradients[f"words.projection.{kind}"]
    for direction in ("forward", "backward"):
        for i in range(bilm.config.layers):
            ours, theirs = f"{direction}_stack.layers.{i}", f"_elmo_lstm._elmo_lstm.{direction}_layer_{i}"
            input_rows, state_rows = in_their_order(gradients[f"{ours}.kernel"].T).chunk(2, 1)
            found[f"{theirs}.input_linearity.weight"] = input_rows
            found[f"{theirs}.state_linearity.weight"] = state_rows
            found[f"{theirs}.state_linearity.bias"] = in_their_order(gradients[f"{ours}.bias"])
            found[f"{theirs}.state_projection.weight"] = gradients[f"{ours}.projection"].T
    assert mix.gamma.grad is not None
    assert mix.weights.grad is not None
    found["scalar_mix_0.gamma"] = mix.gamma.grad[None]
    for i, gradient in enumerate(mix.weights.grad):
        found[f"scalar_mix_0.scalar_parameters.{i}"] = gradient[None]
    return found


def in_their_order(gates: Tensor) -> Tensor:
    """Rows of gates i, g, f, o → i, f, g, o."""
    i, g, f, o = gates.chunk(4)
    return torch.cat([i, f, g, o])


def test_tiny_gradients(tiny: BiLM, record_property: Record) -> None:
    record_property("largest difference", check_gradients(load_case("tiny_gradients"), tiny))


def test_gradients(golden: Path, model_of: Models, record_property: Record) -> None:
    case = load_case("elmo_finetune_gradients", golden)
    record_property("largest difference", check_gradients(case, model_of(case.facts["model"])))
