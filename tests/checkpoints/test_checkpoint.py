"""A model in memory: built whole or not at all."""

import pytest
import torch
from hypothesis import given, settings
from tests.checkpoints.small_models import SMALL, same_tensors, small_configs

from elmokit.checkpoints.checkpoint import build_bilm, random_checkpoint
from elmokit.checkpoints.layout import bilm_layout
from elmokit.config import BiLMConfig, ElmoConfig
from elmokit.model.bilm import BiLM
from elmokit.model.without_values import without_values
from elmokit.text.batch import word_batch


@settings(max_examples=30)
@given(small_configs())
def test_layout_lists_the_tensors_of_the_network(config: BiLMConfig) -> None:
    with without_values():
        state = BiLM(config).state_dict()
    entries = list(bilm_layout(config))
    assert {entry.name: entry.shape for entry in entries} == {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert len({entry.dataset for entry in entries}) == len(entries)


def test_random_values_depend_on_the_seed_alone_and_disturb_nothing() -> None:
    config = ElmoConfig(bilm=SMALL)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = random_checkpoint(config, seed=7)
    assert torch.equal(torch.rand(3), expected)
    assert same_tensors(first.bilm, random_checkpoint(config, seed=7).bilm)
    assert not same_tensors(first.bilm, random_checkpoint(config, seed=8).bilm)


def test_random_values_are_the_reference_s() -> None:
    tensors = random_checkpoint(ElmoConfig(bilm=BiLMConfig(cell_dim=64, projection_dim=32)), seed=0).bilm
    assert (tensors["words.highways.1.carry.bias"] == -2).all()
    assert not tensors["forward_stack.layers.0.bias"].any()
    assert 0.99 < float(tensors["words.embedding.weight"].abs().max()) <= 1
    assert 0.049 < float(tensors["words.convolutions.6.weight"].abs().max()) <= 0.05
    assert float(tensors["words.projection.weight"].std()) == pytest.approx(2048**-0.5, rel=0.02)


def test_built_network_is_ready_for_inference_and_has_the_checkpoint_s_numbers() -> None:
    checkpoint = random_checkpoint(ElmoConfig(bilm=SMALL), seed=0)
    bilm = build_bilm(checkpoint)
    assert not bilm.training
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in bilm.parameters())
    assert same_tensors(dict(bilm.state_dict()), checkpoint.bilm)
    assert checkpoint.parameters == sum(parameter.numel() for parameter in bilm.parameters())
    layers, _ = bilm(word_batch([["a", "bank"]]))
    assert layers.shape == (3, 1, 4, 8)
    assert layers.isfinite().all()


def test_no_half_built_network() -> None:
    checkpoint = random_checkpoint(ElmoConfig(bilm=SMALL), seed=0)
    del checkpoint.bilm["forward_stack.layers.1.kernel"]
    with pytest.raises(RuntimeError, match=r"forward_stack\.layers\.1\.kernel"):
        build_bilm(checkpoint)
