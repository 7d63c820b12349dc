"""New versions of sentences."""

import collections
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.conftest import Golden

from elmokit.lm import augment as augment_module
from elmokit.lm.augment import Augmentation, Augmenter, Replacements, in_the_case_of, replaceable_places
from elmokit.lm.fill import fill
from elmokit.text.vocabulary import Vocabulary

WORDS = ["The", "cat", "sat", "on", "the", "mat", ".", "1999", "unheard-of", "n't", "'s", "<S>", "U.S.", "MAT", "…"]
sentences_of_words = st.lists(st.sampled_from(WORDS), max_size=10)


def augmenter_of(golden: Golden, batch_tokens: int = 8192, **options: float) -> Augmenter:
    how = Augmentation(**options)  # type: ignore[arg-type]  # each test gives whole numbers where they belong
    return Augmenter(golden.model, golden.vocabulary, golden.reader, how, batch_tokens=batch_tokens)


def expected(golden: Golden, words: list[str], place: int, k: int) -> dict[str, float]:
    """By `fill`: the k likeliest words that may stand there, renormalized."""
    joint = fill(golden.model, golden.vocabulary, golden.reader, words, place, 10_000).joint
    able = [(w, p) for w, p in joint if replaceable_places([w]) and w.casefold() != words[place].casefold()][:k]
    return {w: p / math.fsum(p for _, p in able) for w, p in able}


def test_the_likeliest_words_of_both_sides_in_proportion(golden: Golden) -> None:
    """Frequencies of 4,000 draws against the probabilities that `fill` gives."""
    words = golden.text[0]
    place = next(i for i in replaceable_places(words) if words[i].islower())
    allowed = [[i == place for i in range(len(words))]]
    drawn = augmenter_of(golden, copies=4000, top_k=4)([words], allowed=allowed)[0]
    assert {tuple(copy) for copy in drawn} == {(place,)}
    counts = collections.Counter(copy[place] for copy in drawn)
    probabilities = expected(golden, words, place, 4)
    assert set(counts) <= set(probabilities)
    assert len(probabilities) == 4
    for word, p in probabilities.items():
        assert counts[word] / 4000 == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 4000) + 1e-4)


def test_each_place_is_filled_from_the_original_sentence(golden: Golden) -> None:
    """With the likeliest word at every place: what replaces one word does not hang on what replaced another."""
    words = golden.text[1]
    [copy] = augmenter_of(golden, rate=1, top_k=1)([words])[0]
    assert sorted(copy) == replaceable_places(words)
    for place, word in copy.items():
        [likeliest] = expected(golden, words, place, 1)
        assert word == in_the_case_of(words[place], likeliest, first=place == 0)


@settings(max_examples=40)
@given(words=sentences_of_words, seed=st.integers(-5, 5), rate=st.sampled_from([0.01, 0.5, 1]), k=st.integers(1, 99_999))
def test_what_is_never_replaced_and_never_proposed(golden: Golden, words: list[str], seed: int, rate: float, k: int) -> None:
    places = {place for place, word in enumerate(words) if word in ("The", "cat", "sat", "on", "the", "mat", "unheard-of", "MAT")}
    copies = augmenter_of(golden, seed=seed, rate=rate, top_k=k, copies=2)([words])[0]
    assert len(copies) == (2 if places else 0)
    for copy in copies:
        assert 1 <= len(copy) <= len(places)
        assert set(copy) <= places
        assert rate < 1 or set(copy) == places
        for place, word in copy.items():
            assert word.casefold() != words[place].casefold()
            assert replaceable_places([word]) == [0]
            assert word == word.upper() or words[place] != "MAT"
            assert not word[0].islower() or words[place] != "The"


@settings(max_examples=25)
@given(sentences=st.lists(sentences_of_words, min_size=1, max_size=4), seed=st.integers(0, 9))
def test_a_sentence_draws_the_same_whatever_the_others_are(golden: Golden, sentences: list[list[str]], seed: int) -> None:
    together = augmenter_of(golden, seed=seed, copies=2)(sentences)
    assert together == augmenter_of(golden, seed=seed, copies=2)(sentences)
    assert together == augmenter_of(golden, seed=seed, copies=2, batch_tokens=1)(sentences)
    assert together == [augmenter_of(golden, seed=seed, copies=2)([sentence])[0] for sentence in sentences]
    first = augmenter_of(golden, seed=seed)(sentences)
    assert [copies[:1] for copies in together] == first, "more copies leave the first as it was"


def test_another_seed_and_another_copy_draw_other_words(golden: Golden) -> None:
    text = [words for words in golden.text[:20] if replaceable_places(words)]

    def drawn(seed: int) -> list[list[Replacements]]:
        return augmenter_of(golden, seed=seed, copies=2)(text)

    assert drawn(0) != drawn(1)
    assert [copies[0] for copies in drawn(0)] != [copies[1] for copies in drawn(0)]


def test_sentences_do_not_share_their_draws(golden: Golden) -> None:
    """Alike but for a number, with the same seed: not the same places in all of them."""
    text = [["the", "cat", "sat", "on", "the", "mat", str(number)] for number in range(20)]
    assert len({tuple(copy) for [copy] in augmenter_of(golden)(text)}) > 3


def test_the_rate_is_the_share_of_words(golden: Golden) -> None:
    words = golden.text[0] * 3
    able = len(replaceable_places(words))
    replaced = [len(copy) for copy in augmenter_of(golden, rate=0.3, copies=300)([words])[0]]
    share = sum(replaced) / able / 300
    assert share == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / able / 300))


def test_one_word_of_a_short_sentence_is_replaced_at_the_least(golden: Golden) -> None:
    copies = augmenter_of(golden, rate=1e-9, copies=60)([["the", "cat", "."]])[0]
    assert {tuple(copy) for copy in copies} == {(0,), (1,)}


def test_words_that_are_not_allowed_stay(golden: Golden) -> None:
    words = ["the", "cat", "sat"]
    augmenter = augmenter_of(golden, rate=1)
    [copies, none] = augmenter([words, words], allowed=[[False, True, False], [False] * 3])
    assert [set(copy) for copy in copies] == [{1}]
    assert none == []


def test_long_sentences_are_read_in_windows(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    text = [golden.text[0] * 3, golden.text[1], ["cat"]]
    whole = augmenter_of(golden, rate=1, top_k=1)(text)
    monkeypatch.setattr(augment_module, "WINDOW", 3)
    assert augmenter_of(golden, rate=1, top_k=1)(text) == whole


def test_the_softmax_a_few_places_at_a_time(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = augmenter_of(golden, rate=1)(golden.text[:3])
    monkeypatch.setattr(augment_module, "SCORES_AT_A_TIME", 2 * len(golden.vocabulary))
    assert augmenter_of(golden, rate=1)(golden.text[:3]) == whole


def test_a_vocabulary_without_another_word_makes_no_copy(golden: Golden) -> None:
    marks = Vocabulary((*golden.vocabulary.words[:3], "the", *(f".{i}" for i in range(len(golden.vocabulary) - 4))))
    poor = augmenter_of(with_words(golden, marks), rate=1)
    assert poor([["The"], ["the", "cat"]]) == [[], [{1: "the"}]]


def with_words(golden: Golden, vocabulary: Vocabulary) -> Golden:
    return golden._replace(vocabulary=vocabulary)


@pytest.mark.parametrize(
    ("model", "word", "first", "written"),
    [
        ("the", "Paris", True, "Paris"),
        ("The", "a", True, "A"),
        ("London", "paris", False, "Paris"),
        ("THE", "a", False, "A"),
        ("THE", "paris", True, "PARIS"),
        ("The", "McDonald", True, "McDonald"),
        ("I", "we", True, "We"),
        ("I", "we", False, "we"),
        ("银行", "公司", True, "公司"),
    ],
)
def test_capitals(model: str, word: str, first: bool, written: str) -> None:
    assert in_the_case_of(model, word, first=first) == written


@pytest.mark.parametrize("word", ["dog", "银行", "ไป", "l'homme", "o’clock", "well-known", "हिन्दी", "Ω", "naïve", "İ"])
def test_words(word: str) -> None:
    assert replaceable_places([word]) == [0]


@pytest.mark.parametrize(
    "word",
    [
        "",
        ".",
        "--",
        "-a",
        "a-",
        "'s",
        "n't",
        "N’T",
        "3",
        "3rd",
        "B2B",
        "U.S.",
        "Mr.",
        "a@b",
        "www.a.b",
        "dog.",
        "<S>",
        "<UNK>",
        "a b",
    ],
)
def test_no_words(word: str) -> None:
    assert replaceable_places([word]) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 0}, "rate must be above 0 and 1 at the most, not 0"),
        ({"rate": 1.1}, "rate must be"),
        ({"rate": math.nan}, "rate must be"),
        ({"top_k": 0}, "top_k must be 1 or more, not 0"),
        ({"copies": 0}, "copies must be 1 or more, not 0"),
        ({"batch_tokens": 0}, "batch_tokens must be 1 or more"),
    ],
)
def test_what_cannot_be_done(golden: Golden, options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        augmenter_of(golden, **options)  # type: ignore[arg-type]  # as above
