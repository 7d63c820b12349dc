"""Words of a text replaced, the rest kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.text.replacing import replace_tokens, stands_alone
from elmokit.text.tokenizers import get_tokenizer


@given(text=st.text(), data=st.data())
def test_everything_else_is_kept(text: str, data: st.DataObject) -> None:
    tokens = get_tokenizer("words")(text)
    replaced = data.draw(st.dictionaries(st.integers(0, max(len(tokens) - 1, 0)), st.text(), max_size=3 if tokens else 0))
    ends = [0, *(token.end for token in tokens)]
    gaps = [text[end : token.start] for end, token in zip(ends, tokens, strict=False)]
    pieces = [gap + replaced.get(number, tokens[number].text) for number, gap in enumerate(gaps)]
    assert replace_tokens(text, tokens, replaced) == "".join(pieces) + text[ends[-1] :]


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("I can't say", ["I", "say"]),
        ("we cannot go", ["we", "go"]),
        ("the dog's bone", ["the", "dog", "bone"]),
        ("a cat/dog (big)", ["a", "cat", "dog", "big"]),
        ("ask @elmo and #words", ["ask", "and"]),
        ("他在银行工作", ["他", "在", "银行", "工作"]),
        ("用Python写", ["用", "Python", "写"]),
    ],
)
def test_pieces_of_words_do_not_stand_alone(text: str, alone: list[str]) -> None:
    tokens = [token for token in get_tokenizer("words")(text) if stands_alone(text, token)]
    assert [token.text for token in tokens if token.text[0].isalpha()] == alone
