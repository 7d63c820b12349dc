"""`elmo perplexity`."""

import io
import json
import math
import sys
from pathlib import Path

import pytest
import torch

from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.folder import save_folder
from elmokit.cli.main import main
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig
from elmokit.text.vocabulary import Vocabulary

CONFIG = ElmoConfig(
    bilm=BiLMConfig(
        char_cnn=CharCnnConfig(embedding_dim=4, filters=((1, 4), (2, 6)), highways=1), cell_dim=8, projection_dim=3, layers=2
    )
)
WORDS = Vocabulary(("<S>", "</S>", "<UNK>", "the", "bank", "do", "n't"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose head gives every word the same probability."""
    checkpoint = random_checkpoint(CONFIG, seed=1)
    head = {"weight": torch.zeros(len(WORDS), 3), "bias": torch.zeros(len(WORDS))}
    save_folder(type(checkpoint)(**{**vars(checkpoint), "head": head, "vocabulary": WORDS}), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the bank\n\ndon't the ferry\n", encoding="utf-8")
    return path


def json_of(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, float]:
    assert main(["perplexity", *map(str, words), "--json"]) == 0
    score: dict[str, float] = json.loads(capsys.readouterr().out)
    return score


def the_one_line(capsys: pytest.CaptureFixture[str]) -> str:
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


def test_json(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = json_of(capsys, folder, text)
    assert list(score) == ["forward", "backward", "mean", "tokens", "oov", "bits_per_character"]
    assert [score[name] for name in ("forward", "backward", "mean")] == pytest.approx([7, 7, 7], rel=1e-6)
    assert score["tokens"] == 2 + 1 + 4 + 1
    assert score["oov"] == pytest.approx(1 / 6)
    assert score["bits_per_character"] == pytest.approx(
        (8 * math.log2(7) + 8 * len("ferry ")) / len("the bank do n't the ferry ")
    )


def test_lines(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perplexity", str(folder), str(text)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:5]] == [
        ["forward", "7.00"],
        ["backward", "7.00"],
        ["mean", "7.00"],
        ["bits", "2.710"],
        ["targets", "8"],
    ]
    assert lines[3] == "bits      2.710 per character, unknown words spelt out"
    assert "16.67%" in lines[5]


def test_another_tokenizer_and_layout(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = json_of(capsys, folder, text, "--tokenizer", "whitespace")
    assert score["tokens"] == 2 + 1 + 3 + 1
    assert score["oov"] == pytest.approx(2 / 5)
    text.write_text("The bank closed. The ferry left.\n", encoding="utf-8")
    assert json_of(capsys, folder, text, "--layout", "running")["tokens"] == 4 + 1 + 4 + 1


def test_standard_input(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the bank\n")))
    assert json_of(capsys, folder, "-")["tokens"] == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "text.txt: holds no text"), (b" \n\n", "text.txt: holds no text"), (b"a\n\xff\n", "text.txt, line 2")],
)
def test_a_bad_text_is_one_line(folder: Path, text: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str) -> None:
    text.write_bytes(content)
    assert main(["perplexity", str(folder), str(text)]) == 2
    assert said in the_one_line(capsys)


def test_what_is_missing_is_one_line(folder: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perplexity", str(folder), str(tmp_path / "nothing.txt")]) == 2
    assert "nothing.txt" in the_one_line(capsys)
    assert main(["perplexity", str(tmp_path / "nowhere"), str(text)]) == 2
    assert "nowhere" in the_one_line(capsys)
    assert main(["perplexity", str(folder), str(text), "--tokenizer", "magic"]) == 2
    assert "magic" in the_one_line(capsys)


def test_a_model_without_a_head_says_so(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_folder(random_checkpoint(CONFIG, seed=1), tmp_path / "headless")
    assert main(["perplexity", str(tmp_path / "headless"), str(text)]) == 2
    assert "no language-model head" in the_one_line(capsys)
