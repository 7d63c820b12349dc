"""The language model's head: one softmax over the vocabulary, shared by both directions (section 3.1 of the paper).

    full       log p(w | h) = h·W_w + b_w − log Σ_v exp(h·W_v + b_v)
    sampled    the same over the target and S candidates drawn log-uniformly, with log Q subtracted from each logit
               Q(v) = −expm1(tries · log1p(−p(v))),   p(v) = log((v + 2) / (v + 1)) / log(V + 1)

so word ids must be sorted by falling frequency (Jean et al. 2015; TensorFlow's `sampled_softmax_loss`).
Shapes: N predictions, P width of one direction, V vocabulary, S candidates.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCORES_AT_A_TIME = 2**23
ROWS_AT_A_TIME = 256
"""Predictions scored together where no gradient is wanted: W, which may have a gigabyte, is read once for so many."""


class Candidates(NamedTuple):
    """Distinct words drawn from the log-uniform distribution."""

    ids_S: Tensor
    """The words, in the order drawn."""
    tries: int
    """Draws that it took to get so many distinct ones."""


class SoftmaxHead(nn.Module):
    """Scores of every word of the vocabulary, from one direction's vector.

    Args:
        vocabulary_size: V.
        width: P.
    """

    def __init__(self, vocabulary_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary_size, width))
        self.bias = nn.Parameter(torch.empty(vocabulary_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the reference's initial values: W from N(0, 1/P), b = 0."""
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)
        nn.init.zeros_(self.bias)

    def forward(self, h_NP: Tensor) -> Tensor:
        """Give the scores (logits) of all words, (N, V)."""
        return F.linear(h_NP, self.weight, self.bias)

    def losses(self, h_NP: Tensor, targets_N: Tensor) -> Tensor:
        """Give −log p of each target by the full softmax, in nats.

        Without gradients, a part of the vocabulary is scored at a time, so that memory grows neither with N nor with V.
        """
        if torch.is_grad_enabled():
            return F.cross_entropy(self(h_NP), targets_N, reduction="none")
        parts = zip(torch.split(h_NP, ROWS_AT_A_TIME), torch.split(targets_N, ROWS_AT_A_TIME), strict=True)
        return torch.cat([self._losses_part_by_part(h, targets) for h, targets in parts])

    def _losses_part_by_part(self, h_NP: Tensor, targets_N: Tensor) -> Tensor:
        """Run through the vocabulary: the logarithm of the sum so far, and the target's own score where it is met."""
        words = max(1, SCORES_AT_A_TIME // max(1, len(h_NP)))
        total_N, own_N = h_NP.new_full(h_NP.shape[:1], -math.inf), h_NP.new_empty(h_NP.shape[:1])
        for start in range(0, len(self.bias), words):
            scores_NV = F.linear(h_NP, self.weight[start : start + words], self.bias[start : start + words])
            total_N = torch.logaddexp(total_N, scores_NV.logsumexp(1))
            here = ((targets_N >= start) & (targets_N < start + words)).nonzero().squeeze(1)
            own_N[here] = scores_NV[here, targets_N[here] - start]
        return total_N - own_N

    def sampled_losses(self, h_NP: Tensor, targets_N: Tensor, candidates: Candidates) -> Tensor:
        """Give the sampled-softmax loss of each target, in nats.

        A candidate that is the target itself (an accidental hit) is left out. The gradient of W is sparse: only the
        rows drawn have any. That of b, one number a word, is dense.
        """
        ids_S, tries = candidates.ids_S.to(targets_N.device), candidates.tries
        size = self.bias.shape[0]
        ids_R = torch.cat([targets_N, ids_S])
        rows_RP, biases_R = F.embedding(ids_R, self.weight, sparse=True), self.bias[ids_R]
        n = targets_N.shape[0]
        true_N = (h_NP * rows_RP[:n]).sum(1) + biases_R[:n] - log_expected_count(targets_N, tries, size)
        drawn_NS = torch.addmm(biases_R[n:] - log_expected_count(ids_S, tries, size), h_NP, rows_RP[n:].T)
        drawn_NS = drawn_NS.index_put(accidental_hits(targets_N, ids_S, size), drawn_NS.new_tensor(-math.inf))
        return torch.logaddexp(true_N, drawn_NS.logsumexp(1)) - true_N


SampledLosses = Callable[[SoftmaxHead, Tensor, Tensor, Candidates], Tensor]
"""Gives the sampled-softmax losses, as `SoftmaxHead.sampled_losses` does."""
FullLosses = Callable[[SoftmaxHead, Tensor, Tensor], Tensor]
"""Gives the losses of the full softmax, as `SoftmaxHead.losses` does."""


def accidental_hits(targets_N: Tensor, ids_S: Tensor, vocabulary_size: int) -> tuple[Tensor, Tensor]:
    """Give the places (n, s) at which a candidate is the target itself."""
    place_N = places_among(targets_N, ids_S, vocabulary_size)
    hits_N = place_N >= 0
    return hits_N.nonzero().squeeze(1), place_N[hits_N]


def places_among(targets_N: Tensor, ids_S: Tensor, vocabulary_size: int) -> Tensor:
    """Give where each target stands among the candidates, −1 if it does not."""
    place_V = torch.full((vocabulary_size,), -1, device=ids_S.device)
    place_V[ids_S] = torch.arange(len(ids_S), device=ids_S.device)
    return place_V[targets_N]


def draw_candidates(vocabulary_size: int, number: int, generator: torch.Generator | None = None) -> Candidates:
    """Draw distinct words log-uniformly until there are `number` of them, counting the draws.

    Raises:
        ValueError: More words asked for than there are.
    """
    if not 0 < number <= vocabulary_size:
        raise ValueError(f"the number of negative samples must be 1 to the vocabulary's size {vocabulary_size}, not {number}")
    drawn = torch.empty(0, dtype=torch.long)
    while True:
        uniform = torch.rand(2 * number, generator=generator, dtype=torch.float64)
        words = torch.exp(uniform * math.log(vocabulary_size + 1)).long() - 1
        drawn = torch.cat([drawn, words.clamp(0, vocabulary_size - 1)])
        distinct, which = torch.unique(drawn, return_inverse=True)
        if len(distinct) < number:
            continue
        first = torch.full((len(distinct),), len(drawn)).scatter_reduce(0, which, torch.arange(len(drawn)), "amin")
        positions = first.sort().values[:number]
        return Candidates(drawn[positions], int(positions[-1]) + 1)


def log_expected_count(ids: Tensor, tries: int, vocabulary_size: int) -> Tensor:
    """Give log Q: the logarithm of the probability that a word is among the candidates after `tries` draws."""
    rank = ids.double()
    share = torch.log((rank + 2) / (rank + 1)) / math.log(vocabulary_size + 1)
    return torch.log(-torch.expm1(tries * torch.log1p(-share))).float()
