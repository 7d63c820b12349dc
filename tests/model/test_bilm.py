"""Both directions' stacks: skips, padding, states, causality, and where dropout stands."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model import equations
from torch import Tensor, nn

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.model.bilm import BiLM
from elmokit.model.char_cnn import CharCnn
from elmokit.model.lstm import LstmLayer, LstmState, run_lstm
from elmokit.text.batch import WordBatch, word_batch

CONFIG = BiLMConfig(
    char_cnn=CharCnnConfig(embedding_dim=3, filters=((1, 4), (3, 4)), highways=1),
    cell_dim=7,
    projection_dim=5,
    layers=3,
    cell_clip=0.5,
    projection_clip=0.3,
)
SENTENCES = [["the", "old", "bank"], [], ["by", "the", "river", "bank", "."], ["."]]


def bilm_of(config: BiLMConfig, dropout: float = 0.0) -> BiLM:
    torch.manual_seed(4)
    bilm = BiLM(config, dropout=dropout).double()
    for parameter in bilm.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return bilm.eval()


def expected_layers(bilm: BiLM, batch: WordBatch, row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The layers of one sentence, (L + 1, its tokens, D)."""
    words = batch.chars_UW[batch.index_BT[row, : batch.lengths_B[row]]]
    assert isinstance(bilm.words, CharCnn)
    x_TP = np.array([equations.word_vector(bilm.words, list(word)) for word in words])
    forward = equations.stack(bilm.forward_stack, x_TP)
    backward = [layer_TP[::-1] for layer_TP in equations.stack(bilm.backward_stack, x_TP[::-1])]
    halves = [(x_TP, x_TP), *zip(forward, backward, strict=True)]
    return np.stack([np.concatenate(pair, axis=-1) for pair in halves])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers": 1},
        {"skip_connections": False},
        {"cell_clip": None, "projection_clip": None},
        {"projection_dim": None},
    ],
    ids=str,
)
def test_the_equations(changes: dict[str, int | None]) -> None:
    config = dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]  # mypy cannot match a dict with fields
    bilm, batch = bilm_of(config), word_batch(SENTENCES)
    with torch.no_grad():
        layers_LBTD, _ = bilm(batch)
    assert layers_LBTD.shape == (config.layers + 1, len(SENTENCES), 7, config.dim)
    for row, length in enumerate(batch.lengths_B):
        ours = layers_LBTD[:, row, :length].numpy()
        np.testing.assert_allclose(ours, expected_layers(bilm, batch, row), rtol=1e-9, atol=1e-12)
        assert not layers_LBTD[:, row, length:].any(), "all layers are zero at padding"


def test_a_state_that_is_passed_on_joins_sentences() -> None:
    """Forward, two batches are one long text; backward, the state comes from the sentence before, as in training."""
    bilm = bilm_of(CONFIG)
    first, second = (word_batch([words], marks=False) for words in (["a", "b", "c"], ["d", "e"]))
    joined, turned = (word_batch([words], marks=False) for words in (["a", "b", "c", "d", "e"], ["d", "e", "a", "b", "c"]))
    with torch.no_grad():
        _, state = bilm(first)
        layers, after = bilm(second, state)
        whole, whole_after = bilm(joined)
        backward_whole, _ = bilm(turned)
    width = CONFIG.output_dim
    torch.testing.assert_close(layers[..., :width], whole[:, :, 3:, :width], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after.forward, whole_after.forward, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layers[..., width:], backward_whole[:, :, :2, width:], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(layers, bilm(second)[0])


words = st.lists(st.sampled_from(["a", "river", "bank", "银行", "", "naïve"]), max_size=6)


@settings(max_examples=40)
@given(words, words, words)
def test_no_direction_looks_ahead(before: list[str], after: list[str], other: list[str]) -> None:
    """Forward layers do not change when later words do, nor backward ones when earlier words do."""
    bilm, width = bilm_of(CONFIG), CONFIG.output_dim
    with torch.no_grad():
        layers, _ = bilm(word_batch([[*before, "here", *after]]))
        later, _ = bilm(word_batch([[*before, "here", *other]]))
        earlier, _ = bilm(word_batch([[*other, "here", *after]]))
    known = len(before) + 2  # `<S>`, the words before, "here"
    torch.testing.assert_close(layers[:, :, :known, :width], later[:, :, :known, :width], rtol=0, atol=1e-12)
    known = len(after) + 2
    torch.testing.assert_close(layers[:, :, -known:, width:], earlier[:, :, -known:, width:], rtol=0, atol=1e-12)


def test_layers_do_look_behind() -> None:
    """The counterpart: with other words before, the forward layers above the word vectors differ at every later token."""
    bilm, width = bilm_of(CONFIG), CONFIG.output_dim
    with torch.no_grad():
        layers, _ = bilm(word_batch([["a", "b", "c"]]))
        others, _ = bilm(word_batch([["d", "b", "c"]]))
    differs_LT = (layers - others).abs().amax(-1).squeeze(1)
    assert (differs_LT[0] > 0).tolist() == [False, True, False, False, False]
    assert (layers - others)[1:, 0, 1:, :width].abs().amax(-1).gt(0).all()
    assert (layers - others)[1:, 0, :2, width:].abs().amax(-1).gt(0).all()


class Masks(nn.Module):
    """Stands for dropout: multiplies each input it is given by the next of some fixed masks."""

    def __init__(self, masks: list[Tensor]) -> None:
        super().__init__()
        self.masks: Iterator[Tensor] = iter(masks)

    def forward(self, x: Tensor) -> Tensor:
        return x * next(self.masks)


@pytest.mark.parametrize("skip_connections", [False, True])
def test_dropout_falls_on_each_layers_input_outside_the_residual(skip_connections: bool) -> None:
    """The skip connection adds the dropped input, not the whole one; nothing is dropped after the last layer here."""
    config = dataclasses.replace(CONFIG, skip_connections=skip_connections)
    stack = bilm_of(config).forward_stack
    torch.manual_seed(6)
    masks = [2.0 * torch.randint(0, 2, (1, 4, config.output_dim)).double() for _ in range(config.layers)]
    x_BTP = torch.randn(1, 4, config.output_dim, dtype=torch.float64)
    dropout = Masks(masks)
    stack.dropout = dropout  # type: ignore[assignment]  # another module in its place
    with torch.no_grad():
        outputs, _ = stack(x_BTP)
    expected = equations.stack(stack, x_BTP[0].numpy(), [mask[0].numpy() for mask in masks])
    for ours, layer in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(ours[0].numpy(), layer, rtol=1e-9, atol=1e-12)
    assert next(dropout.masks, None) is None, "one mask for each layer"


def test_dropout_acts_in_training_alone() -> None:
    bilm, batch = bilm_of(CONFIG, dropout=0.4), word_batch(SENTENCES)
    assert bilm.forward_stack.dropout.p == bilm.backward_stack.dropout.p == 0.4
    with torch.no_grad():
        assert torch.equal(bilm(batch)[0], bilm(batch)[0])
        bilm.train()
        first, second = bilm(batch)[0], bilm(batch)[0]
    assert torch.equal(first[0], second[0]), "the word vectors that are given out are whole"
    differs = (first != second).any(-1)[1:]
    length = torch.tensor([len(sentence) + 2 for sentence in SENTENCES])
    assert differs[:, torch.arange(7) < length[:, None]].all()


def test_the_recurrence_may_be_another() -> None:
    layers = []

    def recurrence(
        layer: LstmLayer, x_BTD: Tensor, lengths_B: Tensor | None, state: LstmState | None
    ) -> tuple[Tensor, LstmState]:
        layers.append(layer)
        return run_lstm(layer, x_BTD, lengths_B, state)

    bilm, batch = bilm_of(CONFIG), word_batch(SENTENCES)
    other = BiLM(CONFIG, recurrence).double()
    other.load_state_dict(bilm.state_dict())
    with torch.no_grad():
        assert torch.equal(other(batch)[0], bilm(batch)[0])
    assert layers == [*other.forward_stack.layers, *other.backward_stack.layers]


def test_forward_alone_is_the_left_half() -> None:
    both, batch = bilm_of(CONFIG), word_batch(SENTENCES)
    forward = BiLM(dataclasses.replace(CONFIG, bidirectional=False)).double()
    left = {name: tensor for name, tensor in both.state_dict().items() if not name.startswith("backward_stack.")}
    forward.load_state_dict(left)
    assert forward.stacks == [forward.forward_stack]
    with torch.no_grad():
        (expected, after), (layers, state) = both(batch), forward(batch)
        later_expected, later = both(batch, after)[0], forward(batch, state)[0]
    assert layers.shape == (4, len(SENTENCES), 7, 5)
    assert torch.equal(layers, expected[..., :5])
    assert torch.equal(later, later_expected[..., :5])
    assert state.backward == ()
    torch.testing.assert_close(state.forward, after.forward, rtol=0, atol=0)
