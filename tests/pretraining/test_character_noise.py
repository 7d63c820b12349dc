"""A misspelt word is one mistake away from itself, and the same one wherever and whenever it is drawn."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmokit.pretraining.character_noise import CharacterNoise, misspelt
from elmokit.pretraining.spelled_words import SpelledWords
from elmokit.text.bytes import encode_words

WORDS = ("<S>", "</S>", "<UNK>", *(f"w{number}öß" for number in range(500)), "河", "岸")


def spelled(words: tuple[str, ...] = WORDS, max_characters: int = 20) -> SpelledWords:
    lines = [word.encode() + b"\n" for word in words]
    starts = np.concatenate([[0], np.cumsum([len(line) for line in lines])])
    return SpelledWords(np.frombuffer(b"".join(lines), np.uint8), starts, max_characters)


def noisy(share: float, ids: list[int], step: int = 7, seed: int = 3) -> NDArray[np.int16]:
    words, ids_U = spelled(), np.array(ids)
    chars_UW = words.characters(ids_U)
    CharacterNoise(share, seed, words).add_(ids_U, chars_UW, step)
    return chars_UW


@given(word=st.text("abcß河", min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_one_mistake(word: str, seed: int) -> None:
    found = misspelt(word, "xyz", np.random.default_rng(seed))
    assert abs(len(found) - len(word)) <= 1
    if len(found) > len(word):
        assert any(found[:i] + found[i + 1 :] == word for i in range(len(found)))
    elif len(found) < len(word):
        assert found
        assert any(word[:i] + word[i + 1 :] == found for i in range(len(word)))
    else:
        wrong = [i for i in range(len(word)) if word[i] != found[i]]
        swapped = (
            len(wrong) == 2 and wrong[1] == wrong[0] + 1 and found[wrong[0]] + found[wrong[1]] == word[wrong[1]] + word[wrong[0]]
        )
        assert len(wrong) <= 1 or swapped


def test_all_four_mistakes_are_made() -> None:
    found = Counter(misspelt("abcd", "x", np.random.default_rng(seed)) for seed in range(400))
    assert set(found) >= {"xabcd", "abxd", "abc", "bacd"}


def test_about_so_many_words_and_never_the_marks() -> None:
    ids = list(range(len(WORDS)))
    changed = (noisy(0.2, ids) != spelled().characters(np.array(ids))).any(1)
    assert not changed[:3].any()
    assert 0.12 < changed[3:].mean() < 0.28


def test_it_depends_on_the_word_the_step_and_the_seed_alone() -> None:
    ids = list(range(3, 300))
    whole = noisy(0.5, ids)
    np.testing.assert_array_equal(noisy(0.5, ids[100:200]), whole[100:200])
    assert (noisy(0.5, ids, step=8) != whole).any()
    assert (noisy(0.5, ids, seed=4) != whole).any()


def test_letters_come_from_the_text_and_stay_whole() -> None:
    """Every misspelt row is the encoding of a string, of letters that the text has."""
    for row in noisy(0.999, list(range(3, len(WORDS)))):
        word = bytes(int(byte) for byte in row if byte < 256).decode("utf-8")
        assert set(word) <= set("".join(WORDS[3:]))
        np.testing.assert_array_equal(encode_words([word], 20)[0], row)


def test_nothing_at_zero() -> None:
    ids = list(range(len(WORDS)))
    np.testing.assert_array_equal(noisy(0.0, ids), spelled().characters(np.array(ids)))
