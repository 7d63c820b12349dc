"""`elmo fill`."""

import json

import pytest

from elmokit.cli.main import main
from elmokit.embedding.elmo import Elmo


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["fill", *words]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def en_small() -> Elmo:
    return Elmo.from_pretrained("en-small", device="cpu")


def test_json_is_what_the_method_gives(en_small: Elmo, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "Don't sit by [MASK] river.", "--json", "--k", "3", "--device", "cpu"))
    expected = en_small.fill(["Do", "n't", "sit", "by", "anything", "river", "."], 4, k=3)
    assert list(found) == ["joint", "forward", "backward"]
    for way, candidates in found.items():
        assert candidates == [[word, pytest.approx(p)] for word, p in getattr(expected, way)]
    assert found["joint"][0][0] == "the"


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "I sat by [MASK] river bank .", "--k", "4").splitlines()
    assert lines[0].split() == ["joint", "forward", "backward"]
    assert len(lines) == 5
    assert lines[1].split()[1] == "the"
    assert float(lines[1].split()[0]) > float(lines[2].split()[0])


def test_another_mark_and_one_that_touches_words(capsys: pytest.CaptureFixture[str]) -> None:
    one = printed(capsys, "I sat by [MASK] river bank .", "--json")
    assert printed(capsys, "I sat by ___ river bank .", "--mask", "___", "--json") == one
    assert printed(capsys, "I sat by[MASK]river bank .", "--json") == one
    assert printed(capsys, "I sat by [MASK] river bank .", "--tokenizer", "whitespace", "--json") == one


def test_the_mark_alone_is_a_sentence_of_one_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(json.loads(printed(capsys, "[MASK]", "--json", "--k", "99999"))["joint"]) == 20_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["The dog barks ."], "TEXT must have the mark [MASK] once, at the place to fill, not 0 times; see --mask"),
        (["[MASK] and [MASK]"], "not 2 times"),
        (["The [MASK]", "--mask", ""], "TEXT must have the mark"),
        (["The [MASK]", "--k", "0"], "k must be 1 or more"),
        (["The [MASK]", "--tokenizer", "magic"], "tokenizer must be one of"),
        (["The [MASK]", "--model", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["fill", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert said in output.err
