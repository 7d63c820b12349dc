"""`elmo generate`."""

import pytest

from elmokit.cli.main import main
from elmokit.embedding.elmo import Elmo
from elmokit.lm.generate import Drawing, generate


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["generate", *words]) == 0
    output = capsys.readouterr().out
    assert output.endswith("\n")
    return output.removesuffix("\n")


def test_a_seed_decides(capsys: pytest.CaptureFixture[str]) -> None:
    one = printed(capsys, "--prompt", "Don't", "--seed", "3", "--top-k", "50", "--length", "12")
    assert one.startswith("Do n't ")
    assert 3 <= len(one.split(" ")) <= 14
    assert printed(capsys, "--prompt", "Don't", "--seed", "3", "--top-k", "50", "--length", "12") == one
    assert printed(capsys, "--prompt", "Don't", "--seed", "4", "--top-k", "50", "--length", "12") != one


def test_right_to_left_the_prompt_is_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--prompt", "the river .", "--direction", "backward", "--temperature", "0.7", "--length", "8")
    elmo = Elmo.from_pretrained("en-small", device="cpu")
    drawing = Drawing(temperature=0.7, length=8)
    prompt = ["the", "river", "."]
    model, vocabulary, reader = elmo.language_model, elmo.vocabulary, elmo.reader
    drawn = list(generate(model, vocabulary, reader, prompt, direction="backward", drawing=drawing))
    assert text.split(" ") == [*drawn[::-1], *prompt]
    assert drawn, "the model has something to say before a river"


def test_without_a_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--temperature", "0") == printed(capsys, "--top-k", "1", "--seed", "8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--temperature", "-1"], "--temperature must be 0 or more"),
        (["--top-k", "0"], "--top-k must be 1 or more"),
        (["--length", "0"], "--length must be 1 or more"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--direction", "up"], "up"),
        (["--tokenizer", "magic"], "tokenizer must be one of"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["generate", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert said in output.err
