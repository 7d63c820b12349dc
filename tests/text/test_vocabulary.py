from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.errors import FormatError
from elmokit.text.vocabulary import BOS, BOS_ID, EOS, EOS_ID, SPECIAL_WORDS, UNK, UNK_ID, Vocabulary

HEAD = "<S>\n</S>\n<UNK>\n"


def test_words_from_frequent_to_rare_then_by_code_points() -> None:
    counts = {"b": 2, "a": 2, "the": 9, "rare": 1, "<S>": 50, "<UNK>": 7, "é": 2, "B": 2}
    vocabulary = Vocabulary.from_counts(counts, min_count=2)
    assert vocabulary.words == ("<S>", "</S>", "<UNK>", "the", "B", "a", "b", "é")
    assert Vocabulary.from_counts(dict(reversed(counts.items())), min_count=2) == vocabulary
    assert Vocabulary.from_counts(counts, size=5).words == vocabulary.words[:5]
    assert len(Vocabulary.from_counts(counts)) == 9


def test_ids() -> None:
    vocabulary = Vocabulary((*SPECIAL_WORDS, "a", "b"))
    ids = vocabulary.ids(["b", "unheard", BOS, EOS, UNK, "a"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [4, UNK_ID, BOS_ID, EOS_ID, UNK_ID, 3]
    assert vocabulary.ids([]).shape == (0,)
    assert "a" in vocabulary
    assert "unheard" not in vocabulary


@given(st.sets(st.text(st.characters(exclude_characters="\n\r"), min_size=1)))
def test_a_saved_vocabulary_is_the_same_when_loaded(tmp_path_factory: pytest.TempPathFactory, words: set[str]) -> None:
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    vocabulary = Vocabulary((*SPECIAL_WORDS, *sorted(words - set(SPECIAL_WORDS))))
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"vocab.txt, line 1: expected <S>, found ''"),
        ("the\n" + HEAD, r"vocab.txt, line 1: expected <S>, found 'the'"),
        ("<S>\n</S>\n", r"vocab.txt, line 3: expected <UNK>, found the end"),
        (HEAD + "a\nb\na\n", r"vocab.txt, line 6: the word 'a' stands already on line 4"),
        (HEAD + "a\n\nb\n", r"vocab.txt, line 5: empty, expected a word"),
        (HEAD + "<S>\n", r"vocab.txt, line 4: the word '<S>' stands already on line 1"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(FormatError, match=message):
        Vocabulary.load(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(HEAD.encode() + b"good\n\xff\n")
    with pytest.raises(FormatError, match=r"vocab.txt, line 5: not UTF-8"):
        Vocabulary.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"vocab.txt: no such vocabulary file"):
        Vocabulary.load(tmp_path / "vocab.txt")


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + "a\n").replace("\n", "\r\n").encode())
    assert Vocabulary.load(path).words == (*SPECIAL_WORDS, "a")


@pytest.mark.parametrize("size", [-1, 0, 3])
def test_a_size_without_room_for_a_word(size: int) -> None:
    with pytest.raises(ValueError, match=f"must be above 3.*not {size}"):
        Vocabulary.from_counts({"a": 1}, size=size)


@pytest.mark.parametrize("word", ["", "a\nb", "a\r"])
def test_words_that_no_line_can_hold(word: str) -> None:
    with pytest.raises(ValueError, match="line 4"):
        Vocabulary((*SPECIAL_WORDS, word))


def test_bilm_tf_s_file(shared: Path) -> None:
    vocabulary = Vocabulary.load(shared / "golden" / "training" / "vocab.txt")
    assert len(vocabulary) == 155
    assert vocabulary.ids(["the", "ELMo"]).tolist() == [3, 154]
