"""The language model's head, its sampled loss and the candidates."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.model.initial import is_normal

from elmokit.model import softmax
from elmokit.model.softmax import Candidates, SoftmaxHead, draw_candidates, log_expected_count

SIZE, WIDTH, ASKED = 12, 4, 9


@pytest.fixture
def head() -> SoftmaxHead:
    torch.manual_seed(0)
    head = SoftmaxHead(SIZE, WIDTH)
    torch.nn.init.normal_(head.bias)
    return head


@pytest.fixture
def h_NP() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(ASKED, WIDTH, requires_grad=True)


TARGETS = torch.tensor([0, 1, 1, 5, 11, 3, 7, 2, 5])


def test_losses_are_of_probabilities_that_sum_to_1(head: SoftmaxHead, h_NP: torch.Tensor) -> None:
    every_word = torch.arange(SIZE)
    for h_P in h_NP.detach():
        losses = head.losses(h_P.expand(SIZE, WIDTH), every_word)
        assert torch.exp(-losses).sum().item() == pytest.approx(1, abs=1e-6)
        scores = head(h_P[None])[0]
        torch.testing.assert_close(losses, scores.exp().sum().log() - scores)


@pytest.mark.parametrize(("rows", "scores"), [(4, 4 * 5), (2, 2 * SIZE), (256, 1)])
def test_scoring_a_part_at_a_time_changes_no_number(
    head: SoftmaxHead, h_NP: torch.Tensor, monkeypatch: pytest.MonkeyPatch, rows: int, scores: int
) -> None:
    whole = head.losses(h_NP, TARGETS)
    linear, shapes = F.linear, []

    def seen(*arguments: torch.Tensor) -> torch.Tensor:
        scores_NV = linear(*arguments)
        shapes.append(tuple(scores_NV.shape))
        return scores_NV

    monkeypatch.setattr(F, "linear", seen)
    monkeypatch.setattr(softmax, "ROWS_AT_A_TIME", rows)
    monkeypatch.setattr(softmax, "SCORES_AT_A_TIME", scores)
    with torch.no_grad():
        torch.testing.assert_close(head.losses(h_NP, TARGETS), whole.detach(), rtol=0, atol=1e-6)
    assert max(n * v for n, v in shapes) <= max(scores, ASKED), "one word of the vocabulary is the least"
    assert sum(n * v for n, v in shapes) == ASKED * SIZE, "each score once"


def test_sampled_loss_by_its_formula(head: SoftmaxHead, h_NP: torch.Tensor) -> None:
    candidates = Candidates(torch.tensor([2, 0, 5, 9]), 6)
    losses = head.sampled_losses(h_NP, TARGETS, candidates)
    probability = [math.log((word + 2) / (word + 1)) / math.log(SIZE + 1) for word in range(SIZE)]
    assert sum(probability) == pytest.approx(1)
    log_count = torch.tensor([math.log(1 - (1 - p) ** 6) for p in probability])
    for h_P, target, loss in zip(h_NP, TARGETS.tolist(), losses, strict=True):
        corrected = head(h_P) - log_count
        others = [word for word in [2, 0, 5, 9] if word != target]  # an accidental hit counts once, as the target
        expected = corrected[[target, *others]].logsumexp(0) - corrected[target]
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def test_with_every_word_drawn_for_certain_it_is_the_full_loss(head: SoftmaxHead, h_NP: torch.Tensor) -> None:
    everything = Candidates(torch.arange(SIZE), 10**6)
    torch.testing.assert_close(head.sampled_losses(h_NP, TARGETS, everything), head.losses(h_NP, TARGETS))


def test_gradients_of_the_sampled_loss_are_sparse_and_right(head: SoftmaxHead, h_NP: torch.Tensor) -> None:
    candidates = Candidates(torch.tensor([4, 0, 5]), 5)
    torch.autograd.backward(head.sampled_losses(h_NP, TARGETS, candidates).sum())
    assert head.weight.grad is not None
    assert head.weight.grad.is_sparse
    touched = head.weight.grad.coalesce().indices()[0].tolist()
    assert touched == sorted({4, 0, 5, *TARGETS.tolist()})

    weight, bias, h = (tensor.detach().double().requires_grad_() for tensor in (head.weight, head.bias, h_NP))
    logits = F.linear(h, weight, bias) - log_expected_count(torch.arange(SIZE), 5, SIZE).double()
    allowed = torch.zeros(ASKED, SIZE, dtype=torch.bool)
    allowed[:, [4, 0, 5]] = True
    allowed[torch.arange(ASKED), TARGETS] = True
    expected = F.cross_entropy(logits.masked_fill(~allowed, -math.inf), TARGETS, reduction="sum")
    gradients = torch.autograd.grad(expected, [weight, bias, h])
    ours = [head.weight.grad.to_dense(), head.bias.grad, h_NP.grad]
    for mine, exact in zip(ours, gradients, strict=True):
        torch.testing.assert_close(mine, exact.float(), rtol=1e-4, atol=1e-6)


def test_a_sole_candidate_that_is_the_target_leaves_finite_gradients(head: SoftmaxHead, h_NP: torch.Tensor) -> None:
    losses = head.sampled_losses(h_NP, TARGETS, Candidates(torch.tensor([1]), 1))
    assert losses[[1, 2]].tolist() == [0, 0]
    torch.autograd.backward(losses.sum())
    assert h_NP.grad is not None
    assert h_NP.grad.isfinite().all()
    assert not h_NP.grad[[1, 2]].any()


@given(st.integers(1, 300), st.data())
def test_candidates_are_distinct_words(size: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, min(size, 40)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10)))
    ids_S, tries = draw_candidates(size, number, generator)
    assert len(set(ids_S.tolist())) == len(ids_S) == number
    assert ids_S.min() >= 0
    assert ids_S.max() < size
    assert tries >= number


def test_the_generator_decides() -> None:
    first, same, other = (draw_candidates(1000, 50, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.ids_S, same.ids_S)
    assert first.tries == same.tries
    assert not torch.equal(first.ids_S, other.ids_S)


def test_single_candidates_are_log_uniform() -> None:
    size, draws = 15, 6000
    generator = torch.Generator().manual_seed(0)
    counts = np.bincount([int(draw_candidates(size, 1, generator).ids_S) for _ in range(draws)], minlength=size)
    expected = draws * np.log((np.arange(size) + 2) / (np.arange(size) + 1)) / np.log(size + 1)
    assert ((counts - expected) ** 2 / expected).sum() < 36.1  # chi-square of 14 degrees of freedom: one in a thousand


def test_tries_and_expected_counts_fit_the_draws() -> None:
    """How often a word is among the candidates is what its expected count says for the tries that were needed."""
    size, number, repeats = 60, 12, 2000
    generator = torch.Generator().manual_seed(0)
    among, expected = torch.zeros(size), torch.zeros(size)
    for _ in range(repeats):
        ids_S, tries = draw_candidates(size, number, generator)
        among[ids_S] += 1 / repeats
        expected += log_expected_count(torch.arange(size), tries, size).exp() / repeats
    assert expected.sum().item() == pytest.approx(number, rel=0.05)
    torch.testing.assert_close(among, expected, rtol=0.15, atol=0.03)


@pytest.mark.parametrize("number", [-1, 0, 11])
def test_an_impossible_number_of_candidates_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"1 to the vocabulary's size 10, not {number}"):
        draw_candidates(10, number)


def test_initial_values() -> None:
    torch.manual_seed(0)
    head = SoftmaxHead(500, 64)
    assert is_normal(head.weight, 64**-0.5)
    assert not head.bias.any()
