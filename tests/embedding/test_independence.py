"""A sentence's vectors depend on that sentence alone, and a direction's on one side of each word alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elmokit.embedding.elmo import Elmo
from elmokit.embedding.words import PLACES
from elmokit.kernels.engine import PREPARE_FROM

WORDS = st.text(max_size=8) | st.sampled_from(["<S>", "</S>", "", "\ud800", "bank", "the", "银行", "é" * 40])
SENTENCES = st.lists(WORDS, max_size=12)
BATCHES = st.lists(SENTENCES, min_size=1, max_size=8)

SHORT = st.text(max_size=8) | st.sampled_from(["<S>", "</S>", "", "bank", "the", "银行"])
"""Words that end before the room for characters does."""

RANDOM, BUNDLED = 5e-5, 1e-5


@pytest.fixture(scope="module")
def int8(elmo: Elmo) -> Elmo:
    return Elmo.from_config(elmo.config, precision="int8")


def worst(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    assert [x.shape for x in ours] == [x.shape for x in theirs]
    return max((float(abs(a - b).max()) for a, b in zip(ours, theirs, strict=True) if a.size), default=0.0)


def check_independence(elmo: Elmo, sentences: list[list[str]], budget: int, seed: int, tolerance: float) -> None:
    elmo.engine.expect(PREPARE_FROM)  # else the first few tokens are computed without prepared weights, to rounding the same
    elmo.word_cache = 0  # else only the first time words are computed
    alone = [elmo.encode_tokens([sentence], layers="all")[0] for sentence in sentences]
    order = np.random.default_rng(seed).permutation(len(sentences))
    together = elmo.encode_tokens(sentences, layers="all", batch_tokens=budget)
    shuffled = elmo.encode_tokens([sentences[n] for n in order], layers="all", batch_size=3)
    assert worst(alone, together) <= tolerance
    assert worst([alone[n] for n in order], shuffled) <= tolerance
    again = elmo.encode_tokens(sentences, layers="all", batch_tokens=budget)
    assert worst(together, again) == 0.0
    elmo.word_cache = 100
    for _ in range(2):
        remembered = elmo.encode_tokens(sentences, layers="all", batch_tokens=budget)
        assert worst(alone, remembered) <= tolerance
    elmo.word_cache = PLACES


@settings(max_examples=50)
@given(sentences=BATCHES, budget=st.integers(1, 200), seed=st.integers(0, 99))
def test_alone_in_any_batch_order_and_history(elmo: Elmo, sentences: list[list[str]], budget: int, seed: int) -> None:
    check_independence(elmo, sentences, budget, seed, RANDOM)


@settings(max_examples=20)
@given(
    sentences=st.lists(st.lists(SHORT, max_size=12), min_size=1, max_size=8), budget=st.integers(1, 200), seed=st.integers(0, 99)
)
def test_in_int8_bit_for_bit(int8: Elmo, sentences: list[list[str]], budget: int, seed: int) -> None:
    check_independence(int8, sentences, budget, seed, 0.0)


@settings(max_examples=10)
@given(sentences=BATCHES, budget=st.integers(1, 200), seed=st.integers(0, 99))
def test_in_int8_long_words_to_the_rounding_of_float32(int8: Elmo, sentences: list[list[str]], budget: int, seed: int) -> None:
    """The filters over their last characters are those of `model/`: float32, whose sums depend on the batch's size."""
    check_independence(int8, sentences, budget, seed, RANDOM)


@settings(max_examples=3)
@given(sentences=BATCHES, budget=st.integers(1, 200), seed=st.integers(0, 99))
def test_the_published_size(random_small: Elmo, sentences: list[list[str]], budget: int, seed: int) -> None:
    check_independence(random_small, sentences, budget, seed, RANDOM)


@settings(max_examples=10)
@given(sentences=BATCHES, budget=st.integers(1, 200), seed=st.integers(0, 99))
def test_the_bundled_model(en_small: Elmo, sentences: list[list[str]], budget: int, seed: int) -> None:
    check_independence(en_small, sentences, budget, seed, BUNDLED)


@settings(max_examples=50)
@given(sentence=st.lists(WORDS, min_size=1, max_size=12), other=SENTENCES, data=st.data())
def test_forward_layers_see_no_later_word_and_backward_ones_no_earlier(
    elmo: Elmo, sentence: list[str], other: list[str], data: st.DataObject
) -> None:
    half = elmo.dim // 2
    cut = data.draw(st.integers(0, len(sentence)))
    whole = elmo.encode_tokens([sentence], layers="all")[0]
    other_end = elmo.encode_tokens([sentence[:cut] + other], layers="all")[0]
    other_beginning = elmo.encode_tokens([other + sentence[cut:]], layers="all")[0]
    assert worst([whole[:, :cut, :half]], [other_end[:, :cut, :half]]) <= RANDOM
    assert worst([whole[:, cut:, half:]], [other_beginning[:, len(other) :, half:]]) <= RANDOM


def test_both_directions_do_see_the_words_on_their_side(elmo: Elmo) -> None:
    """Else the test above could not fail."""
    half = elmo.dim // 2
    one, other = elmo.encode_tokens([["a", "river", "bank"], ["a", "savings", "bank"]], layers="top")
    assert abs(one[2, :half] - other[2, :half]).max() > 1e-3
    assert abs(one[0, half:] - other[0, half:]).max() > 1e-3


@settings(max_examples=50)
@given(sentence=SENTENCES, window=st.integers(1, 15))
def test_windows_give_what_one_pass_gives(elmo: Elmo, sentence: list[str], window: int) -> None:
    for layers in ("all", "mean"):
        one_pass = elmo.encode_tokens([sentence], layers=layers)[0]
        assert worst([one_pass], [elmo.encode_document(sentence, window=window, layers=layers)]) <= RANDOM


@pytest.mark.parametrize("window", [7, 1000])
def test_windows_of_the_published_size(random_small: Elmo, window: int) -> None:
    sentence = [f"word{n % 17}" for n in range(60)]
    one_pass = random_small.encode_tokens([sentence], layers="all")[0]
    assert worst([one_pass], [random_small.encode_document(sentence, window=window, layers="all")]) <= RANDOM


def test_windows_of_the_bundled_model(en_small: Elmo) -> None:
    sentence = [f"word{n % 17}" for n in range(60)]
    one_pass = en_small.encode_tokens([sentence], layers="all")[0]
    assert worst([one_pass], [en_small.encode_document(sentence, window=7, layers="all")]) <= BUNDLED


def test_a_sentence_above_the_budget_is_read_in_windows(elmo: Elmo) -> None:
    sentence = [f"word{n % 91}" for n in range(700)]
    one_pass = elmo.encode_tokens([sentence], layers="all")[0]
    in_windows, short = elmo.encode_tokens([sentence, ["short"]], layers="all", batch_tokens=300)
    assert worst([one_pass], [in_windows]) <= RANDOM
    assert worst([short], elmo.encode_tokens([["short"]], layers="all")) <= RANDOM


def test_threads_do_not_disturb_each_other(elmo: Elmo) -> None:
    inputs = [[[f"w{n}", f"v{k}"] for k in range(20)] for n in range(12)]
    expected = [elmo.encode_tokens(sentences) for sentences in inputs]
    elmo.word_cache = 1000  # an empty one
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(elmo.encode_tokens, inputs))
    assert max(worst(a, b) for a, b in zip(expected, found, strict=True)) <= 2e-6  # words are computed in other company
