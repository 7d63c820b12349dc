"""Do context vectors tell the senses of a word apart?

A use of an ambiguous word is right if its nearest by cosine, among all other uses of the same word, has the same sense.
ELMo's vectors lie in a cone, so that raw cosines are high everywhere; centered ones have the layer's mean subtracted first.

N uses, L layers (with layer 0 there are L+1 of them), D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elmokit.explore.uses import CONTEXT_WORDS, Floats, Use, UseVectors, encode_uses

if TYPE_CHECKING:
    from elmokit.embedding.elmo import Elmo

Reals = NDArray[np.float64]

TIE = 1e-6  # cosines nearer than this are equal: float32 gives no more


@dataclass(frozen=True)
class Interval:
    """A difference of two accuracies, with its 95 % bootstrap interval."""

    value: float
    """The difference."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""


@dataclass(frozen=True)
class Accuracy:
    """How often the nearest use has the right sense."""

    raw: float
    """With raw cosines."""
    centered: float
    """With centered ones."""


@dataclass(frozen=True)
class Baseline:
    """Something the model must beat."""

    name: str
    """What it is."""
    accuracy: Accuracy
    """How often it is right."""
    raw_gain: Interval
    """What the model is right more often, with raw cosines."""
    centered_gain: Interval
    """The same with centered ones."""


@dataclass(frozen=True)
class SenseReport:
    """What `probe` found."""

    uses: int
    """N, how many uses."""
    words: int
    """Of how many words."""
    accuracy: Accuracy
    """The model's, by the vectors asked for."""
    layers: tuple[Accuracy, ...]
    """The model's by each layer alone; layer 0 knows no context."""
    mean: Accuracy
    """The model's by the mean of all layers."""
    baselines: tuple[Baseline, ...]
    """Chance, the words around, and random weights if they were given."""

    def text(self) -> str:
        """Write it as a table of plain lines."""
        rows = [("", "raw cosines", "centered cosines")]
        rows.append(("this model", self._count(self.accuracy.raw), self._count(self.accuracy.centered)))
        for base in self.baselines:
            raw, centered = _beside(base.accuracy.raw, base.raw_gain), _beside(base.accuracy.centered, base.centered_gain)
            rows.append((base.name, raw, centered))
        ways = {"mean of all": self.mean} | {str(i): accuracy for i, accuracy in enumerate(self.layers)}
        percent = ", ".join(f"{name} {100 * a.raw:.1f} / {100 * a.centered:.1f}" for name, a in ways.items())
        lines = [f"{name:36}{raw:32}{centered}".rstrip() for name, raw, centered in rows]
        return "\n".join([*lines, f"raw / centered by layer: {percent}"])

    def _count(self, accuracy: float) -> str:
        """How many are right; ties can make it a fraction."""
        return f"{100 * accuracy:.1f} %  ({accuracy * self.uses:.0f} of {self.uses})"


def _beside(accuracy: float, gain: Interval) -> str:
    """A baseline's accuracy and what the model gains on it."""
    return f"{100 * accuracy:.1f} %  {100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def cosines(vectors_ND: Floats, mean_D: Floats | None = None) -> Reals:
    """Give the cosines of all pairs, (N, N); `mean_D` is subtracted first. A zero vector has cosine 0 with all."""
    x_ND = vectors_ND.astype(np.float64)
    if mean_D is not None:
        x_ND = x_ND - mean_D
    norm_N = np.linalg.norm(x_ND, axis=1, keepdims=True)
    unit_ND = x_ND / np.where(norm_N > 0, norm_N, 1)
    return np.asarray(unit_ND @ unit_ND.T, np.float64)


def _same(names: Sequence[str | None]) -> NDArray[np.bool_]:
    """(N, N): whether two uses have the same name; the diagonal is False."""
    array = np.array([str(name) for name in names])
    same_NN = array[:, None] == array
    np.fill_diagonal(same_NN, False)
    return np.asarray(same_NN, np.bool_)


def nearest_sense_hits(
    vectors_ND: Floats, words: Sequence[str], senses: Sequence[str | None], mean_D: Floats | None = None
) -> Reals:
    """Tell for each use whether the nearest other use of its word has its sense: 1 or 0, (N,).

    Of several uses equally near the one taken is random: the hit is then the share of the right ones.

    Args:
        vectors_ND: A vector for each use.
        words: The word of each.
        senses: The sense of each; only uses of the same word are compared.
        mean_D: Subtracted from all vectors before the cosines are taken.

    Raises:
        ValueError: Names a word that has one use only.
    """
    word_NN = _same(words)
    if not word_NN.any(axis=1).all():
        lonely = words[int(np.flatnonzero(~word_NN.any(axis=1))[0])]
        raise ValueError(f"{lonely!r} has one use only: nothing to compare it with")
    near_NN = np.where(word_NN, cosines(vectors_ND, mean_D), -np.inf)
    nearest_NN = near_NN >= near_NN.max(axis=1, keepdims=True) - TIE
    right_NN = nearest_NN & word_NN & _same(senses)
    return np.asarray(right_NN.sum(axis=1) / nearest_NN.sum(axis=1), np.float64)


def nearest_sense_accuracy(
    vectors_ND: Floats, words: Sequence[str], senses: Sequence[str | None], mean_D: Floats | None = None
) -> float:
    """Give the share of uses whose nearest has their sense; see `nearest_sense_hits`."""
    return float(nearest_sense_hits(vectors_ND, words, senses, mean_D).mean())


def chance_hits(words: Sequence[str], senses: Sequence[str | None]) -> Reals:
    """Give what any other use of the word, drawn at random, is right on average, (N,).

    It is all that vectors without context can give: then all uses of a word are equally near.
    """
    return nearest_sense_hits(np.zeros((len(words), 1), np.float32), words, senses)


def paired_bootstrap(hits_N: Reals, baseline_N: Reals, *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Compare two ways on the same uses, by drawing the uses anew with replacement.

    Returns:
        The difference of the means, and where 95 % of the resampled differences lie.
    """
    difference_N = hits_N - baseline_N
    draws = np.random.default_rng(seed).integers(len(difference_N), size=(resamples, len(difference_N)))
    low, high = np.quantile(difference_N[draws].mean(axis=1), [0.025, 0.975])
    return Interval(float(difference_N.mean()), float(low), float(high))


def _choose(vectors_NLD: Floats, layer: int | None) -> Floats:
    """One layer, or the mean of all; (..., L+1, D) → (..., D)."""
    return np.asarray(vectors_NLD.mean(axis=-2) if layer is None else vectors_NLD[..., layer, :], np.float32)


@dataclass(frozen=True)
class _Pair:
    """The hits of one way with both cosines."""

    raw_N: Reals
    centered_N: Reals

    def accuracy(self) -> Accuracy:
        return Accuracy(float(self.raw_N.mean()), float(self.centered_N.mean()))

    def beside(self, name: str, baseline: "_Pair") -> Baseline:
        raw, centered = (
            paired_bootstrap(self.raw_N, baseline.raw_N),
            paired_bootstrap(self.centered_N, baseline.centered_N),
        )
        return Baseline(name, baseline.accuracy(), raw, centered)


def _hits(uses: Sequence[Use], vectors_ND: Floats, mean_D: Floats) -> _Pair:
    """The hits of one set of vectors with both cosines."""
    words, senses = [use.word for use in uses], [use.sense for use in uses]
    return _Pair(nearest_sense_hits(vectors_ND, words, senses), nearest_sense_hits(vectors_ND, words, senses, mean_D))


def _layer_hits(uses: Sequence[Use], vectors: UseVectors, layer: int | None) -> _Pair:
    """The hits of one layer, or of the mean of all."""
    return _hits(uses, _choose(vectors.target_NLD, layer), _choose(vectors.mean_LD, layer))


def probe(
    elmo: "Elmo",
    random_elmos: Sequence["Elmo"],
    uses: Sequence[Use],
    *,
    layer: int | None = None,
    vectors: UseVectors | None = None,
) -> SenseReport:
    """Ask of a list of labelled uses whether the model tells senses apart, and how much better than simpler ways.

    Args:
        elmo: The model.
        random_elmos: The same network with random weights, one for each seed; their hits are averaged.
        uses: The labelled uses, two or more of each word.
        layer: The layer whose vectors are judged, here and in the random ones; None is the mean of all.
        vectors: What `encode_uses(elmo, uses)` gave, if it was called before.

    Raises:
        ValueError: A use has no sense or is the only one of its word.
    """
    if any(use.sense is None for use in uses):
        raise ValueError("a use without a sense cannot be judged: give each its label")
    words, senses = [use.word for use in uses], [use.sense for use in uses]
    found = vectors or encode_uses(elmo, uses)
    mine = _layer_hits(uses, found, layer)
    chance_N = chance_hits(words, senses)
    baselines = [
        mine.beside("chance (layer 0, no context)", _Pair(chance_N, chance_N)),
        mine.beside(f"{CONTEXT_WORDS} words each side, layer 0, mean", _hits(uses, found.context_ND, found.mean_LD[0])),
    ]
    if random_elmos:
        random = [_layer_hits(uses, encode_uses(other, uses), layer) for other in random_elmos]
        average = _Pair(np.mean([r.raw_N for r in random], axis=0), np.mean([r.centered_N for r in random], axis=0))
        baselines.append(mine.beside(f"random weights, mean of {len(random)} seeds", average))
    layers = tuple(_layer_hits(uses, found, i).accuracy() for i in range(found.mean_LD.shape[0]))
    mean = _layer_hits(uses, found, None).accuracy()
    return SenseReport(len(uses), len(set(words)), mine.accuracy(), layers, mean, tuple(baselines))


@dataclass(frozen=True)
class Neighbor:
    """A use and the one nearest to it by centered cosine."""

    use: Use
    nearest: Use
    raw: float
    """The raw cosine of the two."""
    centered: float
    """The centered one."""


def neighbors(
    elmo: "Elmo", uses: Sequence[Use], word: str, *, layer: int | None = None, vectors: UseVectors | None = None
) -> list[Neighbor]:
    """Find for each use of a word the nearest other one.

    Args:
        elmo: The model.
        uses: Uses, with senses or without; those of other words are left out.
        word: The word.
        layer: The layer to compare by; None is the mean of all.
        vectors: What `encode_uses(elmo, uses)` gave, if it was called before.

    Raises:
        ValueError: The word has fewer than two uses.
    """
    chosen = [i for i, use in enumerate(uses) if use.word == word]
    if len(chosen) < 2:
        raise ValueError(f"{word!r} has {len(chosen)} uses: two or more are needed to compare them")
    found = vectors or encode_uses(elmo, uses)
    x_ND = _choose(found.target_NLD, layer)[chosen]
    raw_NN, centered_NN = cosines(x_ND), cosines(x_ND, _choose(found.mean_LD, layer))
    other_NN = np.where(np.eye(len(chosen), dtype=bool), -np.inf, centered_NN)
    return [
        Neighbor(uses[chosen[i]], uses[chosen[j]], float(raw_NN[i, j]), float(centered_NN[i, j]))
        for i, j in enumerate(other_NN.argmax(axis=1))
    ]
