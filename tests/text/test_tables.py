"""Words and code points by tables of a model's own."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.text.bytes import encode_words
from elmokit.text.readers import BYTES, ByteReader, WordReader
from elmokit.text.tables import CHARACTER_MARKS, MANYLANGS_MARKS, CharacterTable, WordTable

WORDS = WordTable({"<S>": 4, "</S>": 0, "<UNK>": 2, "river": 7, "": 1})
MANYLANGS = WordTable({"<bos>": 0, "<eos>": 1, "<oov>": 2, "<S>": 3, "rive": 4, "\ud800": 5}, MANYLANGS_MARKS, longest=4)
LETTERS = {mark: i for i, mark in enumerate(CHARACTER_MARKS)} | {"a": 9, "é": 8, "\u3000": 7}
BOS, EOS, OOV, PAD, BOW, EOW = (LETTERS[mark] for mark in CHARACTER_MARKS)


def test_words_have_the_ids_of_the_table() -> None:
    assert WORDS.rows(["river", "<S>", "bank", "", "</S>", "<UNK>", "River"]).tolist() == [[7], [4], [2], [1], [0], [2], [2]]
    assert WORDS.rows([]).shape == (0, 1)


def test_long_words_are_cut_before_they_are_looked_up_and_our_marks_are_the_tables() -> None:
    words = ["rivers", "rive", "riv", "<S>", "</S>", "<oov>", "\ud800"]
    assert MANYLANGS.rows(words).ravel().tolist() == [4, 4, 2, 0, 1, 2, 5], "an ordinary word <S> of the table is never read"


def one_word(word: str, places: int) -> list[int]:
    """The rule, a word at a time: the two marks round a word are exchanged."""
    if word in ("<S>", "<bos>"):
        inside = [BOS]
    elif word in ("</S>", "<eos>"):
        inside = [EOS]
    else:
        inside = [LETTERS.get(character, OOV) for character in word[: places - 2]]
    return ([EOW, *inside, BOW] + [PAD] * places)[:places]


@given(st.lists(st.text(st.sampled_from("aéx\u3000\ud800"), max_size=9) | st.sampled_from(["<S>", "<eos>"])), st.integers(7, 12))
def test_code_points_have_the_ids_of_the_table(words: list[str], places: int) -> None:
    rows = CharacterTable(LETTERS, places).rows(words)
    assert rows.shape == (len(words), places)
    assert rows.tolist() == [one_word(word, places) for word in words]


@pytest.mark.parametrize("mark", CHARACTER_MARKS)
def test_a_table_without_a_mark_is_refused(mark: str) -> None:
    without = {entry: number for entry, number in LETTERS.items() if entry != mark}
    with pytest.raises(ValueError, match=f"the table of characters has no entry {mark}"):
        CharacterTable(without)
    if mark in MANYLANGS_MARKS:
        with pytest.raises(ValueError, match=f"the table of words has no entry {mark}"):
            WordTable(without, MANYLANGS_MARKS)


def test_readers_join_their_parts_and_can_be_pickled() -> None:
    both = pickle.loads(pickle.dumps(WordReader(CharacterTable(LETTERS, 5), MANYLANGS)))
    assert both(["riverés", "a"]).tolist() == [[4, EOW, OOV, OOV, OOV, BOW], [2, EOW, 9, BOW, PAD, PAD]]
    assert WordReader(None, WORDS)(["river"]).tolist() == [[7]]
    np.testing.assert_array_equal(WordReader(ByteReader(9))(["é", "<S>"]), encode_words(["é", "<S>"], 9))
    assert BYTES(["a"]).dtype == np.int16
