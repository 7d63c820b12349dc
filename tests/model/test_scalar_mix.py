"""Equation (1) of the paper."""

import pytest
import torch

from elmokit.model.scalar_mix import ScalarMix

LAYERS, ROWS, TOKENS, WIDTH = 3, 2, 4, 5


@pytest.fixture
def layers_LBTD() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(LAYERS, ROWS, TOKENS, WIDTH)


MASK = torch.tensor([[True, True, True, True], [True, True, False, False]])


def test_at_first_it_is_the_plain_mean(layers_LBTD: torch.Tensor) -> None:
    torch.testing.assert_close(ScalarMix(LAYERS)(layers_LBTD, MASK), layers_LBTD.mean(0))


def test_weights_pass_through_a_softmax_and_gamma_scales(layers_LBTD: torch.Tensor) -> None:
    mix = ScalarMix(LAYERS, weights=[0.5, -1.0, 2.0])
    torch.nn.init.constant_(mix.gamma, 3.0)
    exponentials = torch.tensor([0.5, -1.0, 2.0]).exp()
    expected = sum(3 * share * layer for share, layer in zip(exponentials / exponentials.sum(), layers_LBTD, strict=True))
    torch.testing.assert_close(mix(layers_LBTD, MASK), expected)


def test_layer_norm_has_one_mean_and_variance_for_all_tokens_of_a_layer(layers_LBTD: torch.Tensor) -> None:
    normalized = []
    for layer in layers_LBTD:
        tokens = layer[MASK]  # what stands at padding counts for nothing
        normalized.append((layer - tokens.mean()) / tokens.var(correction=0).sqrt())
    mix = ScalarMix(LAYERS, layer_norm=True)
    torch.testing.assert_close(mix(layers_LBTD, MASK)[MASK], torch.stack(normalized).mean(0)[MASK])
    changed = layers_LBTD.clone()
    changed[:, ~MASK] = 100.0
    torch.testing.assert_close(mix(changed, MASK)[MASK], mix(layers_LBTD, MASK)[MASK])


def test_epsilon_keeps_a_constant_layer_finite() -> None:
    mix = ScalarMix(1, layer_norm=True)
    assert torch.equal(mix(torch.full((1, 1, 2, 3), 7.0), torch.ones(1, 2, dtype=torch.bool)), torch.zeros(1, 2, 3))


def test_the_penalty_is_least_where_all_shares_are_equal() -> None:
    assert ScalarMix(LAYERS).penalty(0.1).item() == 0
    mix = ScalarMix(LAYERS, weights=[1.0, -2.0, 0.5])
    penalty = mix.penalty(0.1)
    assert penalty.item() == pytest.approx(0.1 * 5.25)
    torch.autograd.backward(penalty)
    torch.testing.assert_close(mix.weights.grad, torch.tensor([0.2, -0.4, 0.1]))


def test_gradients_reach_weights_and_gamma_unless_they_are_fixed(layers_LBTD: torch.Tensor) -> None:
    mix = ScalarMix(LAYERS)
    torch.autograd.backward(mix(layers_LBTD, MASK).square().sum())
    assert mix.weights.grad is not None
    assert mix.weights.grad.abs().min() > 0
    assert mix.gamma.grad is not None
    assert not any(parameter.requires_grad for parameter in ScalarMix(LAYERS, trainable=False).parameters())


def test_weights_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="weights must be 3 numbers, one for each layer, not 2"):
        ScalarMix(3, weights=[0.0, 1.0])
