import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from elmokit import Elmo, Token
from elmokit.errors import FormatError
from elmokit.explore.uses import Use, encode_uses, find_uses, read_text_uses, read_uses

HEADER = "word\tsense\tsentence\n"


def split_at_spaces(text: str) -> list[Token]:
    return [Token(m[0], *m.span()) for m in re.finditer(r"\S+", text)]


def single_characters(text: str) -> list[Token]:
    return [Token(c, i, i + 1) for i, c in enumerate(text)]


@pytest.mark.parametrize(
    ("language", "pairs"),
    [("en", {("bank", "river"), ("bank", "money")}), ("zh", {("苹果", "水果"), ("苹果", "公司")}), ("zh-Hans", {("花", "用掉")})],
)
def test_the_list_is_large_enough_and_balanced(language: str, pairs: set[tuple[str, str]]) -> None:
    uses = read_uses(language=language)
    senses = Counter((use.word, use.sense) for use in uses)
    assert len(uses) >= 140
    assert len({word for word, _ in senses}) >= 20
    assert 3 <= min(senses.values()) <= max(senses.values()) <= 5
    assert set(Counter(word for word, _ in senses).values()) <= {2, 3}
    assert pairs <= set(senses)
    assert len({use.text for use in uses}) == len(uses)


def test_each_sentence_of_the_list_has_its_word_once_and_a_fair_length() -> None:
    for use in read_uses():
        words = re.findall(r"[\w']+", use.text)
        assert use.text[use.start : use.end] == use.word
        assert words.count(use.word) == 1
        assert 8 <= len(words) <= 25
        assert use.text[0].isupper()
        assert use.text[-1] == "."


def test_each_chinese_sentence_has_its_word_once_and_a_fair_length() -> None:
    for use in read_uses(language="zh"):
        assert use.text[use.start : use.end] == use.word
        assert use.text.count(use.word) == 1
        assert 12 <= len(use.text) <= 30
        assert use.text[-1] == "。"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_word_stands_now_early_now_late(language: str) -> None:
    places = [use.start / len(use.text) for use in read_uses(language=language)]
    thirds = Counter(int(3 * place) for place in places)
    assert min(thirds[0], thirds[1], thirds[2]) > len(places) / 10


def test_uses_of_a_sense_do_not_repeat_one_clue() -> None:
    """No long word stands in three of a sense's four sentences."""
    uses = read_uses()
    for word, sense in {(use.word, use.sense) for use in uses}:
        texts = [set(re.findall(r"\w{5,}", use.text.lower())) for use in uses if (use.word, use.sense) == (word, sense)]
        clues = Counter(clue for text in texts for clue in text if clue != word)
        assert max(clues.values()) <= 2, (word, sense)


def test_chinese_uses_of_a_sense_do_not_repeat_one_clue() -> None:
    """No two characters beside each other stand in three of a sense's four sentences."""
    uses = read_uses(language="zh")
    for word, sense in {(use.word, use.sense) for use in uses}:
        texts = [use.text.replace(word, "，") for use in uses if (use.word, use.sense) == (word, sense)]
        clues = Counter(clue for text in texts for clue in {text[i : i + 2] for i in range(len(text) - 1)})
        repeated = {clue for clue, count in clues.items() if count > 2 and clue.isalpha()}
        assert not repeated, (word, sense)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word\tsentence\n", "line 1: expected the columns"),
        (HEADER + "bank\triver\tThe [bank] fell.\nbank\triver\n", "line 3: expected 3 columns, found 2"),
        (HEADER + "bank\triver\tThe bank fell.\n", r"line 2: expected \[bank\]"),
        (HEADER + "bank\triver\tThe [bank] of the [bank] fell.\n", r"line 2: expected \[bank\]"),
        (HEADER + "bank\triver\tThe [shore] fell.\n", r"line 2: expected \[bank\]"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "senses.tsv"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read_uses(path)


def test_find_uses_takes_whole_words_in_any_case() -> None:
    lines = ["Banks fail. The bank, a Bank! Embankment, bank-note.", "Nothing here.", "bank"]
    found = list(find_uses(lines, "bank", split_at_spaces))
    assert [use.text[use.start : use.end] for use in found] == ["bank", "Bank", "bank", "bank"]
    assert all(use.word == "bank" and use.sense is None for use in found)


def test_find_uses_where_no_spaces_are_written() -> None:
    found = list(find_uses(["我在银行工作。"], "银行", single_characters))
    assert [(use.start, use.end) for use in found] == [(2, 4)]
    assert not list(find_uses(["我在银行工作。"], "银行", split_at_spaces))


def test_read_text_uses_skips_what_is_not_utf8(tmp_path: Path, elmo_of_words: Elmo) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"The rich bank.\n\xff bank\nA deep bank.\n")
    assert [use.text for use in read_text_uses(path, "bank", elmo_of_words)] == ["The rich bank.", "A deep bank."]


def test_encode_uses(elmo_of_words: Elmo) -> None:
    text = "a rich , the bank . river money money money money deep"
    found = encode_uses(elmo_of_words, [Use("bank", None, text, text.index("bank"), text.index("bank") + 4)])
    river, money, bank, deep, rich, the, a, _, stop = 1 + np.eye(9, dtype=np.float32)
    assert found.target_NLD.tolist() == [[bank.tolist(), stop.tolist()]]
    assert np.allclose(found.context_ND, [(a + rich + the + river + 4 * money) / 8])  # five words after, `deep` is the sixth
    assert found.mean_LD.shape == (2, 9)
    assert np.allclose(found.mean_LD[1] - found.mean_LD[0], (deep - a) / 12)


def test_encode_uses_takes_the_mean_of_all_tokens_of_a_word(elmo_of_words: Elmo) -> None:
    found = encode_uses(elmo_of_words, [Use("river bank", None, "the river bank .", 4, 14)])
    assert np.allclose(found.target_NLD[0, 0], 1 + (np.eye(9)[0] + np.eye(9)[2]) / 2)


def test_many_uses_are_the_same_as_each_alone(elmo_of_words: Elmo) -> None:
    texts = ["the bank .", "rich bank", "bank river the a"] * 50
    uses = [Use("bank", None, text, text.index("bank"), text.index("bank") + 4) for text in texts]
    found = encode_uses(elmo_of_words, uses)
    for i, j in pairwise(range(0, 150, 7)):
        alone = encode_uses(elmo_of_words, uses[i:j])
        assert np.array_equal(found.target_NLD[i:j], alone.target_NLD)
        assert np.array_equal(found.context_ND[i:j], alone.context_ND)


def test_encode_uses_refuses_nothing_to_encode(elmo_of_words: Elmo) -> None:
    with pytest.raises(ValueError, match="no use"):
        encode_uses(elmo_of_words, [])
    with pytest.raises(ValueError, match="no token"):
        encode_uses(elmo_of_words, [Use(" ", None, "the bank", 3, 4)])


def test_layer_means_are_the_models_own_if_it_keeps_them(elmo_of_words: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    own = torch.arange(18.0).reshape(2, 9)
    monkeypatch.setattr(elmo_of_words.checkpoint, "layer_means_LD", own)
    found = encode_uses(elmo_of_words, [Use("bank", None, "the bank", 4, 8)])
    assert found.mean_LD.tolist() == own.tolist()
