"""Windows of text → the loss of every target."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.lm.language_model import LanguageModel, LmBatch, detach, lm_batch
from elmokit.model.bilm import BiLM
from elmokit.model.softmax import Candidates, SoftmaxHead
from elmokit.text.lexicon import Lexicon
from elmokit.text.readers import WordIds
from elmokit.text.streams import NOTHING, SentenceStreams, StreamWindow
from elmokit.text.vocabulary import UNK_ID, Vocabulary

WORDS = Vocabulary(("<S>", "</S>", "<UNK>", "the", "bank", "river", "."))
TEXT = [["the", "bank", "."], ["a", "river", "."], [], ["the", "ferry"]]
CONFIG = BiLMConfig(
    char_cnn=CharCnnConfig(embedding_dim=3, filters=((1, 4), (3, 4)), highways=1), cell_dim=6, projection_dim=4, layers=2
)


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(BiLM(CONFIG), SoftmaxHead(len(WORDS), 4))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.double().eval()


def batches(rows: int = 2, window: int = 4) -> Iterator[LmBatch]:
    lexicon = Lexicon(WORDS)
    for text in SentenceStreams(map(lexicon.ids, TEXT), rows, window):
        yield lm_batch(text, lexicon.characters, len(WORDS))


def test_a_batch_holds_each_distinct_word_once_for_both_directions() -> None:
    lexicon = Lexicon(WORDS)
    window = next(SentenceStreams(map(lexicon.ids, TEXT), 2, 4))
    asked: list[NDArray[np.int64]] = []

    def characters(ids_U: NDArray[np.int64]) -> WordIds:
        asked.append(ids_U)
        return lexicon.characters(ids_U)

    batch = lm_batch(window, characters, len(WORDS))
    read = set(window.forward_BT.ravel()) | set(window.backward_BT.ravel())
    assert sorted(set(asked[0])) == sorted(read)
    assert (np.bincount(asked[0])[sorted(read)[1:]] == 1).all(), "but for word 0, which fills the batch up"
    for ours_BT, ids_BT in ((batch.forward_BT, window.forward_BT), (batch.backward_BT, window.backward_BT)):
        np.testing.assert_array_equal(batch.chars_UW[ours_BT].numpy(), lexicon.characters(ids_BT.ravel()).reshape(2, 4, -1))


def test_targets_outside_the_vocabulary_are_unknown_and_none_stay_none() -> None:
    ids = np.array([[3, 7, 99, NOTHING]])
    batch = lm_batch(StreamWindow(ids, ids, ids, ids), lambda ids_U: np.zeros((len(ids_U), 50), np.int16), len(WORDS))
    assert batch.forward_targets_BT.tolist() == batch.backward_targets_BT.tolist() == [[3, UNK_ID, UNK_ID, NOTHING]]


def test_losses_are_those_of_the_last_layers(model: LanguageModel) -> None:
    """Every target of both directions, row after row, from the state that the window before left."""
    states: list[object] = [None, None]
    state = None
    for batch in batches():
        with torch.no_grad():
            losses, state = model(batch, state)
            x_UP = model.bilm.words(batch.chars_UW)
            for i, (stack, index_BT, targets_BT, ours_N) in enumerate(
                [
                    (model.bilm.forward_stack, batch.forward_BT, batch.forward_targets_BT, losses.forward_N),
                    (model.bilm.backward_stack, batch.backward_BT, batch.backward_targets_BT, losses.backward_N),
                ]
            ):
                layers, states[i] = stack(x_UP[index_BT], None, states[i])
                log_p = torch.log_softmax(model.head(layers[-1]), -1)
                expected = [-log_p[b, t, targets_BT[b, t]] for b, t in (targets_BT != NOTHING).nonzero().tolist()]
                torch.testing.assert_close(ours_N, torch.stack(expected))
            torch.testing.assert_close(losses.mean(), (losses.forward_N.mean() + losses.backward_N.mean()) / 2)


def test_the_probabilities_of_a_direction_sum_to_1(model: LanguageModel) -> None:
    """At every place of both directions, over all words that may come next."""
    batch = next(batches())
    totals = torch.zeros(2, int((batch.forward_targets_BT != NOTHING).sum()), dtype=torch.float64)
    for word in range(len(WORDS)):
        asked = [torch.where(t == NOTHING, t, word) for t in (batch.forward_targets_BT, batch.backward_targets_BT)]
        with torch.no_grad():
            losses, _ = model(batch._replace(forward_targets_BT=asked[0], backward_targets_BT=asked[1]))
        totals += torch.stack([torch.exp(-losses.forward_N), torch.exp(-losses.backward_N)])
    torch.testing.assert_close(totals, torch.ones_like(totals))


def test_sampled_losses_have_candidates_of_their_own_for_each_direction(model: LanguageModel) -> None:
    batch = next(batches())
    forward, backward = Candidates(torch.tensor([0, 2, 1]), 4), Candidates(torch.tensor([3, 0, 6]), 9)
    with torch.no_grad():
        both, _ = model(batch, None, (forward, backward))
        swapped, _ = model(batch, None, (backward, forward))
        same, _ = model(batch, None, (forward, forward))
    assert torch.equal(same.forward_N, both.forward_N)
    assert torch.equal(same.backward_N, swapped.backward_N)
    assert not torch.equal(both.forward_N, swapped.forward_N)


class Halve(nn.Module):
    """Stands for dropout and counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x / 2


def test_the_last_output_is_dropped_once_more(model: LanguageModel) -> None:
    """What the softmax reads is dropped, what the recurrence remembers is not."""
    batch = next(batches())
    with torch.no_grad():
        _, state = model(batch)
        model.dropout = Halve()  # type: ignore[assignment]  # another module in its place
        losses, dropped_state = model(batch)
        layers, _ = model.bilm.forward_stack(model.bilm.words(batch.chars_UW)[batch.forward_BT])
        asked = batch.forward_targets_BT != NOTHING
        expected = model.head.losses(layers[-1][asked] / 2, batch.forward_targets_BT[asked])
    torch.testing.assert_close(losses.forward_N, expected)
    torch.testing.assert_close(dropped_state, state)
    assert model.dropout.calls == 2, "once in each direction"


def test_detached_states_hold_no_graph(model: LanguageModel) -> None:
    _, state = model(next(batches()))
    assert state.forward[0].h_BP.requires_grad
    cut = detach(state)
    tensors = [tensor for stack in cut for layer in stack for tensor in layer]
    assert len(tensors) == 8
    assert not any(tensor.requires_grad for tensor in tensors)
    torch.testing.assert_close(cut.backward[1].c_BH, state.backward[1].c_BH.detach())


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_model_that_reads_forward_alone_has_the_forward_losses(model: LanguageModel, bidirectional: bool) -> None:
    """Whether its batches were made for both directions or for one."""
    alone = LanguageModel(BiLM(dataclasses.replace(CONFIG, bidirectional=False)), model.head).double()
    left = {name: tensor for name, tensor in model.bilm.state_dict().items() if not name.startswith("backward_stack.")}
    alone.bilm.load_state_dict(left)
    drawn = Candidates(torch.tensor([0, 2, 1]), 4)
    lexicon, state, after = Lexicon(WORDS), None, None
    for text in SentenceStreams(map(lexicon.ids, TEXT), 2, 4):
        batch = lm_batch(text, lexicon.characters, len(WORDS), bidirectional=bidirectional)
        assert len(batch.backward_BT) == (2 if bidirectional else 0)
        expected, after = model(lm_batch(text, lexicon.characters, len(WORDS)), after)
        losses, state = alone(batch, state)
        torch.testing.assert_close(losses.forward_N, expected.forward_N)
        assert torch.equal(losses.mean(), losses.forward_N.mean())
        assert len(losses.backward_N) == 0
        assert (detach(state).backward, len(state.forward)) == ((), 2)
        torch.testing.assert_close(state.forward, after.forward)
        sampled, both_sampled = alone(batch, None, (drawn,))[0], model(batch, None, (drawn, drawn))[0]
        torch.testing.assert_close(sampled.forward_N, both_sampled.forward_N)
