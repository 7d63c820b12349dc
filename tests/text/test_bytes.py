import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.text.bytes import BOS_CHARACTER, BOW, CHARACTERS, EOS_CHARACTER, EOW, PAD, encode_words

ANY_WORD = st.one_of(st.text(st.characters()), st.sampled_from(["<S>", "</S>", "", "\ud83d", "a\x00b", "a\nb", "🇫🇷", "x" * 100]))


def one_word(word: str, max_characters: int) -> list[int]:
    """The code of one word, written out step by step from REFERENCE.md."""
    if word in ("<S>", "</S>"):
        characters = [BOS_CHARACTER if word == "<S>" else EOS_CHARACTER]
    else:
        characters = list(word.encode("utf-8", "ignore"))[: max_characters - 2]
    return ([BOW, *characters, EOW] + [PAD] * max_characters)[:max_characters]


@given(st.lists(ANY_WORD), st.integers(3, 60))
def test_every_word_is_coded_as_if_alone(words: list[str], max_characters: int) -> None:
    ids_NW = encode_words(words, max_characters)
    assert ids_NW.dtype == np.int16
    assert ids_NW.shape == (len(words), max_characters)
    assert ids_NW.tolist() == [one_word(word, max_characters) for word in words]
    assert ids_NW.size == 0 or ids_NW.max() < CHARACTERS


def test_long_words_are_cut_inside_a_character() -> None:
    # 23 letters and 13 characters of two bytes: 49 bytes, of which 48 have room.
    row = encode_words(["a" * 23 + "é" * 13])[0]
    assert row[0] == BOW
    assert row[49] == EOW
    assert row[48] == "é".encode()[0]


def test_a_lone_surrogate_makes_an_empty_word() -> None:
    assert encode_words(["\ud800"])[0, :3].tolist() == [BOW, EOW, PAD]


def test_a_width_without_room_for_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="max_characters must be at least 3, not 2"):
        encode_words(["a"], 2)


def test_ids_are_those_of_allennlp(shared: Path) -> None:
    golden = shared / "golden"
    words = 0
    for case in json.loads((golden / "index.json").read_text("utf-8"))["cases"].values():
        if case["kind"] != "bilm_batches":
            continue
        arrays = np.load(golden / case["file"])
        for i, batch in enumerate(case["batches"]):
            for sentence, ids_TW in zip(batch, arrays[f"b{i}_ids"], strict=True):
                # AllenNLP adds 1, and 0 is a place without a token.
                assert np.array_equal(ids_TW[: len(sentence)], encode_words(sentence) + 1)
                assert not ids_TW[len(sentence) :].any()
                words += len(sentence)
    assert words > 1000
