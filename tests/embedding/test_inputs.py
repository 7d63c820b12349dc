"""What users hand over."""

import warnings

import numpy as np
import pytest

from elmokit.embedding.elmo import Elmo
from elmokit.embedding.inputs import read_inputs


@pytest.mark.parametrize(
    ("inputs", "words", "single"),
    [
        ("a text", [["a", "text"]], True),
        (["a text", "two."], [["a", "text"], ["two", "."]], False),
        (("a text",), [["a", "text"]], False),
        ([["don't", "split me"], []], [["don't", "split me"], []], False),
        ([("a", "b")], [["a", "b"]], False),
        (np.array(["a text", "more"]), [["a", "text"], ["more"]], False),
        ([], [], False),
        ([[]], [[]], False),
    ],
)
def test_texts_and_sentences(inputs: list[str], words: list[list[str]], single: bool) -> None:
    read = read_inputs(inputs, "words")
    assert (read.words, read.single) == (words, single)


def test_a_generator_is_read_once() -> None:
    assert read_inputs((text for text in ["a b", "c d"]), "words").words == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["a text", ["words"]], r"inputs\[0\] is str: all inputs must be texts"),
        (["a text", None], r"inputs\[0\] is str: all inputs must be texts"),
        ([["words"], None], r"inputs\[1\] is NoneType"),
        ([b"bytes"], r"inputs\[0\] is bytes"),
        ([["a", 1]], r"inputs\[0\]\[1\] is int, expected a word"),
        ([[["a"]]], r"inputs\[0\]\[0\] is list, expected a word"),
        (b"bytes", "inputs must be a text, .*, not bytes"),
        (3, "inputs must be a text, a list of texts or a list of lists of words, not int"),
    ],
)
def test_what_is_neither(inputs: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_inputs(inputs, "words")  # type: ignore[arg-type]  # what a user may try


def test_texts_of_one_word_may_be_a_mistake(elmo: Elmo) -> None:
    for call in (elmo.encode_tokens, elmo.encode):
        with pytest.warns(
            UserWarning, match=r"3 texts of one word each: if they are one sentence, give a list of it, \[\["
        ) as record:
            call(["the", "river", "bank"])
        assert record[0].filename == __file__  # it points to the caller
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elmo.encode_tokens([["the", "river", "bank"]])
        elmo.encode_tokens(["the river", "bank"])
        elmo.encode_tokens(["bank"])
        elmo.tokenize(["the", "river", "bank"])
