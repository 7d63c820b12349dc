"""New versions of sentences: some words replaced by words that the language model expects at their places.

    p(w) ∝ p_f(w) · p_b(w),  over the top k words that may stand there

as `elmokit.lm.fill` joins both directions; since they share one softmax, the product is a single one: with W and b its
weights and h_f, h_b what the directions have read, p(w) ∝ exp(W_w·(h_f + h_b) + 2·b_w). The context of every place is the
sentence as it was given, so one run of the network tells all places; two words replaced in one copy do not know of each other.

A word is letters, with hyphens and apostrophes inside. Nothing else is replaced or proposed: no mark, number, address,
abbreviation with a dot, ending cut off a word ('s, n't), nor `<S>`, `</S>`, `<UNK>`.
Shapes: B sentences, T places, N places to fill, P one direction's width, V vocabulary, K candidates.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import regex
import torch
from torch import Tensor

from elmokit.lm.context import WINDOW
from elmokit.lm.language_model import LanguageModel
from elmokit.model.bilm import LstmStack, StackState
from elmokit.model.softmax import SCORES_AT_A_TIME
from elmokit.text.batch import token_budget_batches, word_batch
from elmokit.text.readers import WordReader
from elmokit.text.vocabulary import BOS, EOS, Vocabulary

Replacements = dict[int, str]
"""The places of a sentence where a copy has another word, with that word."""

_WORD = regex.compile(
    r"(?!n['’]t\Z)\p{L}[\p{L}\p{M}\xAD\u200C\u200D]*+(?:[-‐‑'’][\p{L}\p{M}\xAD\u200C\u200D]++)*+", regex.IGNORECASE
)
_SPARE = 8
"""Candidates looked at beyond the top k: the word itself is among them, in several forms (the, The, THE)."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How sentences are changed."""

    rate: float = 0.15
    """Probability with which each word that may be replaced is; if that spares all of a sentence's, one is."""
    top_k: int = 10
    """Replacements are drawn from so many likeliest words, in proportion to their probability."""
    copies: int = 1
    """New versions of each sentence, drawn independently: those of a short sentence may be alike."""
    seed: int = 0
    """The same seed draws the same words, on the same machine. What a sentence draws depends on its words alone, not on the other
    sentences, but for rounding: numbers computed in another batch may differ in their last digits, and very rarely tip a draw."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: Names the field and what it may be.
        """
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must be above 0 and 1 at the most, not {self.rate}")
        for name, value in (("top_k", self.top_k), ("copies", self.copies)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")


def replaceable_places(words: Sequence[str], allowed: Sequence[bool] | None = None) -> list[int]:
    """Give the places of the words that may be replaced.

    Args:
        words: A sentence.
        allowed: Which of its words may be, if they are words; None: all.
    """
    return [place for place, word in enumerate(words) if (allowed is None or allowed[place]) and _WORD.fullmatch(word)]


_Candidates = list[tuple[int, str, float]]
"""Ids, words and logarithms of probabilities, all up to one and the same constant; the likeliest first."""


class _Copy(NamedTuple):
    """One copy of a sentence before its words are drawn."""

    places: list[int]
    """Where words will be replaced."""
    chance: Random
    """What draws them."""


class Augmenter:
    """Makes new versions of sentences. For one thread.

    Args:
        model: The language model.
        vocabulary: The V words that its softmax predicts.
        reader: How the model reads words.
        augmentation: How sentences are changed.
        batch_tokens: Words computed at once (rows × longest row).

    Raises:
        ValueError: A budget below 1, or a model that reads forward alone.
    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        reader: WordReader,
        augmentation: Augmentation,
        *,
        batch_tokens: int = 8192,
    ) -> None:
        token_budget_batches([], batch_tokens)  # refuses a wrong budget
        if not model.bilm.config.bidirectional:
            raise ValueError("this model reads forward alone, and what may stand at a place depends on both sides of it")
        self.model = model
        self.vocabulary = vocabulary
        self.reader = reader
        self.augmentation = augmentation
        self.batch_tokens = batch_tokens
        device = model.head.bias.device
        never = [i for i, word in enumerate(vocabulary.words) if not _WORD.fullmatch(word)]
        bias_V = 2 * model.head.bias.detach()
        self.bias_V = bias_V.index_fill(0, torch.tensor(never, dtype=torch.long, device=device), -math.inf)

    def __call__(
        self,
        sentences: Sequence[Sequence[str]],
        forms: Sequence[Sequence[str]] | None = None,
        allowed: Sequence[Sequence[bool]] | None = None,
    ) -> list[list[Replacements]]:
        """Replace words.

        Args:
            sentences: Words as they were given.
            forms: The same in the form which the model reads; None: no other.
            allowed: Which words of each sentence may be replaced, if they are words; None: all.

        Returns:
            For each sentence its copies; none where nothing could be replaced.
        """
        limits = [None] * len(sentences) if allowed is None else allowed
        plans = [self._plan(words, replaceable_places(words, may)) for words, may in zip(sentences, limits, strict=True)]
        copies: list[list[Replacements]] = [[] for _ in sentences]
        planned = [number for number, plan in enumerate(plans) if plan]
        for batch in token_budget_batches((len(sentences[number]) for number in planned), self.batch_tokens):
            numbers = [planned[i] for i in batch]
            wanted = [sorted({place for copy in plans[number] for place in copy.places}) for number in numbers]
            h_NP = self._both_sides([(forms or sentences)[number] for number in numbers], wanted)
            found = iter(self._likeliest(h_NP))
            for number, places in zip(numbers, wanted, strict=True):
                candidates = {place: next(found) for place in places}
                drawn = [
                    _draw(copy, sentences[number], (forms or sentences)[number], candidates, self.augmentation.top_k)
                    for copy in plans[number]
                ]
                copies[number] = [copy for copy in drawn if copy]
        return copies

    def _plan(self, words: Sequence[str], places: list[int]) -> list[_Copy]:
        """Choose the places of each copy, by the seed, the copy's number and the words of the sentence alone."""
        if not places:
            return []
        plan = []
        for number in range(self.augmentation.copies):
            key = "\n".join([str(self.augmentation.seed), str(number), *words])
            chance = Random(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest())
            drawn = [place for place in places if chance.random() < self.augmentation.rate]
            plan.append(_Copy(drawn or [places[int(chance.random() * len(places))]], chance))
        return plan

    def _both_sides(self, sentences: list[Sequence[str]], wanted: list[list[int]]) -> Tensor:
        """h_f + h_b at the wanted places: what both directions know before they read the word there."""
        before = [[BOS, *words[:-1]] for words in sentences]
        behind = [[EOS, *words[:0:-1]] for words in sentences]
        rows = [row for row, places in enumerate(wanted) for _ in places]
        forward_N = [place for places in wanted for place in places]
        backward_N = [len(words) - 1 - place for words, places in zip(sentences, wanted, strict=True) for place in places]
        bilm = self.model.bilm
        return self._read(bilm.forward_stack, before, rows, forward_N) + self._read(bilm.backward_stack, behind, rows, backward_N)

    @torch.no_grad()
    def _read(self, stack: LstmStack, lines: list[list[str]], rows: list[int], places: list[int]) -> Tensor:
        """Read lines in windows, and keep the top layer h_NP after the places asked for."""
        device = self.model.bilm.device
        row_N, place_N = torch.tensor(rows, device=device), torch.tensor(places, device=device)
        h_NP = torch.empty((len(rows), self.model.head.weight.shape[1]), device=device)
        state: StackState | None = None
        for start in range(0, max(map(len, lines)), WINDOW):
            batch = word_batch([line[start : start + WINDOW] for line in lines], self.reader, marks=False)
            x_UP = self.model.bilm.words(torch.from_numpy(batch.chars_UW).to(device))
            layers, state = stack(x_UP[torch.from_numpy(batch.index_BT).to(device)], None, state)
            here_N = (place_N >= start) & (place_N < start + WINDOW)
            h_NP[here_N] = layers[-1][row_N[here_N], place_N[here_N] - start]
        return h_NP

    @torch.no_grad()
    def _likeliest(self, h_NP: Tensor) -> list[_Candidates]:
        """The likeliest words at each place, some more than are drawn from."""
        size = len(self.vocabulary)
        k = min(self.augmentation.top_k + _SPARE, size)
        found: list[_Candidates] = []
        for part_NP in torch.split(h_NP, max(1, SCORES_AT_A_TIME // size)):
            scores_NV = torch.addmm(self.bias_V, part_NP, self.model.head.weight.T)
            for scores_K, ids_K in zip(*(values.tolist() for values in scores_NV.topk(k)), strict=True):
                pairs = zip(ids_K, scores_K, strict=True)
                found.append([(i, self.vocabulary.words[i], score) for i, score in pairs if score > -math.inf])
        return found


def _draw(copy: _Copy, words: Sequence[str], forms: Sequence[str], found: dict[int, _Candidates], k: int) -> Replacements:
    """Draw a word for each place of a copy that has a candidate."""
    replaced: Replacements = {}
    for place in copy.places:
        itself = {words[place].casefold(), forms[place].casefold()}
        others = [candidate for candidate in found[place] if candidate[1].casefold() not in itself][:k]
        if others:
            # By their ids: two that are equally likely but for rounding may stand in either order of probability.
            weights = [math.exp(score - others[0][2]) for _, _, score in others]
            pairs = sorted(zip(others, weights, strict=True))
            drawn = copy.chance.choices([other[1] for other, _ in pairs], [weight for _, weight in pairs])[0]
            replaced[place] = in_the_case_of(words[place], drawn, first=place == 0)
    return replaced


def in_the_case_of(model: str, word: str, *, first: bool) -> str:
    """Write a word with the capitals of another: "The" and "a" give "A", "THE" and "a" give "A", "the" and "Paris" "Paris".

    Args:
        model: Whose capitals are kept, where it has any.
        word: What is written; capitals of its own remain.
        first: Whether it begins its sentence. Elsewhere one capital letter (I) says nothing of the word in its place.
    """
    if len(model) > 1 and model.isupper():
        return word.upper()
    if model[:1].isupper() and (first or len(model) > 1):
        return word[:1].upper() + word[1:]
    return word
