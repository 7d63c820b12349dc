"""The words that stand to reason at a place."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.conftest import Golden
from tests.lm.test_score import by_equations

from elmokit.lm import context as context_module
from elmokit.lm.fill import Candidate, Fill, fill

WORDS = ["The", "cat", "sat", "on", "the", "mat", ".", "unheard-of"]
sentences_of_words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=10)


def fill_of(golden: Golden, words: list[str], position: int, k: int = 10_000) -> Fill:
    return fill(golden.model, golden.vocabulary, golden.reader, words, position, k)


def lists(found: Fill) -> tuple[list[Candidate], ...]:
    return found.forward, found.backward, found.joint


@settings(max_examples=25)
@given(words=sentences_of_words, data=st.data())
def test_each_lists_probabilities_sum_to_1_over_the_vocabulary(golden: Golden, words: list[str], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(words) - 1))
    for candidates in lists(fill_of(golden, words, position)):
        assert sorted(word for word, _ in candidates) == sorted(golden.vocabulary.words)
        assert math.fsum(p for _, p in candidates) == pytest.approx(1, abs=1e-12)
        assert [p for _, p in candidates] == sorted((p for _, p in candidates), reverse=True)


def test_each_candidate_by_the_equations(golden: Golden) -> None:
    """The word put at the place has the probability there that the equations give it."""
    sentence = golden.text[0]
    position = 2
    forward, backward, joint = map(dict, lists(fill_of(golden, sentence, position)))
    for word in [sentence[position], "The", "."]:
        log_f, log_b = by_equations(golden, [*sentence[:position], word, *sentence[position + 1 :]])
        assert math.log(forward[word]) == pytest.approx(log_f[position], abs=1e-5)
        assert math.log(backward[word]) == pytest.approx(log_b[position + 1], abs=1e-5)
    products = {word: forward[word] * backward[word] for word in golden.vocabulary.words}
    for word, product in products.items():
        assert joint[word] == pytest.approx(product / math.fsum(products.values()), rel=1e-9)


@settings(max_examples=25)
@given(words=sentences_of_words, other=st.sampled_from([*WORDS, "", "x" * 99]), data=st.data())
def test_what_stands_at_the_place_moves_nothing(golden: Golden, words: list[str], other: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(words) - 1))
    replaced = [*words[:position], other, *words[position + 1 :]]
    assert fill_of(golden, words, position) == fill_of(golden, replaced, position)


def test_each_direction_reads_its_side_and_all_of_it(golden: Golden) -> None:
    words = ["The", "cat", "sat", "on", "."]
    found = fill_of(golden, words, 2)
    for changed, same, other in ((0, "backward", "forward"), (1, "backward", "forward"), (4, "forward", "backward")):
        others = [*words[:changed], "mat", *words[changed + 1 :]]
        there = fill_of(golden, others, 2)
        assert getattr(there, same) == getattr(found, same)
        assert getattr(there, other) != getattr(found, other)


def test_long_sentences_are_read_in_windows(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = golden.text[0] * 4
    whole = fill_of(golden, sentence, 20)
    monkeypatch.setattr(context_module, "WINDOW", 3)
    for ours, other in zip(lists(fill_of(golden, sentence, 20)), lists(whole), strict=True):
        first, second = dict(ours), dict(other)
        np.testing.assert_allclose([first[w] for w in second], list(second.values()), rtol=1e-4, atol=1e-9)


def test_k_of_the_likeliest(golden: Golden) -> None:
    three, all_words = fill_of(golden, ["The", "cat"], 1, 3), fill_of(golden, ["The", "cat"], 1)
    for few, many in zip(lists(three), lists(all_words), strict=True):
        assert few == many[:3]


@pytest.mark.parametrize(
    ("words", "position", "k", "said"),
    [
        (["a", "b"], 2, 1, "position=2: the sentence has no such place, its places are 0 to 1"),
        (["a", "b"], -1, 1, "position=-1"),
        ([], 0, 1, "position=0: the sentence has no such place, it has no word"),
        (["a"], 0, 0, "k must be 1 or more, not 0"),
    ],
)
def test_what_cannot_be_filled(golden: Golden, words: list[str], position: int, k: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fill_of(golden, words, position, k)


def test_a_model_that_reads_forward_alone_cannot_fill_a_place(forward_golden: Golden) -> None:
    with pytest.raises(ValueError, match="this language model reads forward alone"):
        fill_of(forward_golden, ["The", "cat"], 1)
