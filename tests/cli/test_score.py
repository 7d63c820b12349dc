"""`elmo score`."""

import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.folder import save_folder
from elmokit.cli.main import main
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig
from elmokit.model.softmax import SoftmaxHead
from elmokit.text.vocabulary import Vocabulary

CONFIG = ElmoConfig(
    bilm=BiLMConfig(
        char_cnn=CharCnnConfig(embedding_dim=4, filters=((1, 4), (2, 6)), highways=1), cell_dim=8, projection_dim=3, layers=2
    )
)
WORDS = Vocabulary(("<S>", "</S>", "<UNK>", "the", "bank", "do", "n't"))
COLUMNS = ["row", "position", "token", "start", "end", "unknown", "forward_surprisal", "backward_surprisal"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with random weights."""
    checkpoint = random_checkpoint(CONFIG, seed=1)
    torch.manual_seed(0)
    head = SoftmaxHead(len(WORDS), 3).state_dict()
    save_folder(type(checkpoint)(**{**vars(checkpoint), "head": head, "vocabulary": WORDS}), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the bank\n\n don't the ferry\n", encoding="utf-8")
    return path


def table(content: str) -> list[dict[str, str]]:
    assert content.split("\n", 1)[0].split("\t") == COLUMNS
    return list(csv.DictReader(io.StringIO(content), delimiter="\t", quoting=csv.QUOTE_NONE))


def total(rows: list[dict[str, str]]) -> float:
    return math.fsum(float(row[name]) for row in rows for name in COLUMNS[-2:] if row[name])


def run(*words: object) -> None:
    assert main(["score", *map(str, words)]) == 0


def test_a_line_for_each_target_with_places_in_the_text(folder: Path, text: Path, tmp_path: Path) -> None:
    run(text, tmp_path / "scores.tsv", "--model", folder)
    rows = table((tmp_path / "scores.tsv").read_text(encoding="utf-8"))
    lines = text.read_text(encoding="utf-8").split("\n")
    assert [(row["row"], row["position"], row["token"]) for row in rows] == [
        *[("0", "-1", "<S>"), ("0", "0", "the"), ("0", "1", "bank"), ("0", "2", "</S>")],
        *[("2", "-1", "<S>"), ("2", "0", "do"), ("2", "1", "n't"), ("2", "2", "the"), ("2", "3", "ferry"), ("2", "4", "</S>")],
    ], "an empty line is no sentence"
    for row in rows:
        is_mark = row["token"] in ("<S>", "</S>")
        assert is_mark or lines[int(row["row"])][int(row["start"]) : int(row["end"])] == row["token"]
        assert (row["forward_surprisal"] == "") == (row["token"] == "<S>")
        assert (row["backward_surprisal"] == "") == (row["token"] == "</S>")
        assert row["unknown"] == ("true" if row["token"] == "ferry" else "false")


@pytest.mark.parametrize("words", [["the", "bank"], ["the", "ferry", "do", "the"] * 200])
def test_one_sentence_sums_to_its_perplexity(
    folder: Path, text: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """By the numbers that both commands print."""
    text.write_text(" ".join(words) + "\n", encoding="utf-8")
    run(text, "--model", folder)
    rows = table(capsys.readouterr().out)
    assert main(["perplexity", str(folder), str(text), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tokens"] == len(words) + 1
    for name in ("forward", "backward"):
        surprisal = math.fsum(float(row[f"{name}_surprisal"]) for row in rows if row[f"{name}_surprisal"])
        assert math.exp(surprisal / said["tokens"]) == pytest.approx(said[name], rel=1e-8), "nine digits are printed"
    assert math.exp(total(rows) / 2 / said["tokens"]) == pytest.approx(said["mean"], rel=1e-8)


def test_a_stream_sums_to_its_perplexity(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(text, "--model", folder, "--carry-state", "--batch-tokens", "1")
    stream = total(table(capsys.readouterr().out))
    assert main(["perplexity", str(folder), str(text), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert math.exp(stream / 2 / said["tokens"]) == pytest.approx(said["mean"], rel=1e-6)
    run(text, "--model", folder)
    assert total(table(capsys.readouterr().out)) != pytest.approx(stream, rel=1e-6)


def test_the_bundled_model_scores_english(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text.write_text("I sat by the river bank .\n", encoding="utf-8")
    run(text, "--unit", "bits")
    rows = table(capsys.readouterr().out)
    assert main(["perplexity", "en-small", str(text), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert 2 ** (total(rows) / 2 / said["tokens"]) == pytest.approx(said["mean"], rel=1e-8)


def test_json_lines_say_the_same(folder: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each line of the input, so that they can be read side by side."""
    run(text, tmp_path / "scores.jsonl", "--model", folder, "--unit", "bits")
    run(text, "--model", folder)
    rows = table(capsys.readouterr().out)
    records: list[dict[str, Any]] = [
        json.loads(line) for line in (tmp_path / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [record["tokens"] for record in records] == [["the", "bank"], [], ["do", "n't", "the", "ferry"]]
    assert records[1] == {
        "row": 1,
        "tokens": [],
        "start": [],
        "end": [],
        "unknown": [],
        "unit": "bits",
        "forward_surprisal": [],
        "backward_surprisal": [],
    }
    for record in records:
        for name in COLUMNS[-2:]:
            nats = [float(row[name]) for row in rows if row["row"] == str(record["row"]) and row[name]]
            assert record[name] == pytest.approx([x / math.log(2) for x in nats], rel=1e-6)
        words = [row for row in rows if row["row"] == str(record["row"])][1:-1]
        for name in ("start", "end"):
            assert record[name] == [int(row[name]) for row in words]
        assert record["unknown"] == [row["unknown"] == "true" for row in words]


def test_standard_input_and_output(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the bank\n")))
    run("-", "-", "--model", folder, "--format", "jsonl")
    assert json.loads(capsys.readouterr().out)["tokens"] == ["the", "bank"]


def test_a_column_of_a_table_and_another_tokenizer(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_text('name,text\na,"don\'t"\n', encoding="utf-8")
    run(tmp_path / "table.csv", "--column", "text", "--model", folder, "--tokenizer", "whitespace")
    assert [row["token"] for row in table(capsys.readouterr().out)] == ["<S>", "don't", "</S>"]


def test_small_chunks_change_no_number(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(text, "--model", folder)
    whole = table(capsys.readouterr().out)
    run(text, "--model", folder, "--batch-tokens", "1")
    for row, other in zip(table(capsys.readouterr().out), whole, strict=True):
        assert [row[name] for name in COLUMNS[:-2]] == [other[name] for name in COLUMNS[:-2]]
        for name in COLUMNS[-2:]:
            assert row[name] == other[name] == "" or float(row[name]) == pytest.approx(float(other[name]), abs=1e-5)


def failure(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["score", *map(str, words)]) == 2
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    return output.err


def test_bad_input_is_one_line_and_leaves_nothing(
    folder: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "scores.tsv"
    assert "out.txt: unknown extension" in failure(capsys, text, tmp_path / "out.txt", "--model", folder)
    assert "text.txt: is the input" in failure(capsys, text, text, "--format", "tsv", "--model", folder)
    assert "is a folder" in failure(capsys, text, tmp_path, "--format", "tsv", "--model", folder)
    assert "nothing.txt: no such file" in failure(capsys, tmp_path / "nothing.txt", out, "--model", folder)
    assert "--batch-tokens must be 1 or more" in failure(capsys, text, out, "--batch-tokens", "0")
    assert "tokenizer must be one of" in failure(capsys, text, out, "--tokenizer", "magic")
    assert "dits" in failure(capsys, text, out, "--unit", "dits")
    text.write_bytes(b"the bank\n\xff\n")
    assert "text.txt, line 2: byte 1 is not UTF-8" in failure(capsys, text, out, "--model", folder)
    text.write_bytes(b" \n\n")
    assert "no word in it, there is nothing to score" in failure(capsys, text, out, "--model", folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "text.txt"]


def test_a_model_without_a_head_says_which_have_one(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_folder(random_checkpoint(CONFIG, seed=1), tmp_path / "headless")
    said = failure(capsys, text, "--model", tmp_path / "headless")
    assert "has no language-model head" in said
    assert "en-small" in said
