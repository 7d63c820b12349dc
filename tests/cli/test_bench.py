"""`elmo bench` measures in processes of its own; what it says hangs together, whatever the machine does meanwhile."""

import json
import re
import sys
from pathlib import Path

import pytest

from elmokit.cli.commands.bench import _lines
from elmokit.cli.main import main
from elmokit.explore.uses import read_uses

MODEL = str(Path(__file__).parent.parent / "golden/data/models/random_tiny")
TEXT = "I sat by the river bank .\n\nThe bank raised its interest rates .\nDon't panic !\nThis is not read .\n"


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return str(tmp_path / "text.txt")


def test_measures_each_precision(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.svg")]
    options = ["--precision", "float32", "int8", "--threads", "1", "--sentences", "3", "--repeats", "2"]
    assert main(["bench", "--model", MODEL, "--text", text, *options, *files]) == 0
    shown = capsys.readouterr().out
    assert len(re.findall(r"^ *(?:float32|int8) +1 +[\d,]+ ", shown, re.MULTILINE)) == 4
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["model"] == MODEL
    assert [(one["precision"], one["threads"]) for one in report["measured"]] == [("float32", 1), ("int8", 1)]
    for one in report["measured"]:
        check(one)
    floors = report["measured"][0]["batch"]
    assert floors["floor_s"] == floors["float32_floor_s"]
    assert (tmp_path / "out.svg").read_text(encoding="utf-8").startswith("<?xml")


def check(one: dict[str, object]) -> None:
    """Every figure is there and of the size that it must have."""
    for name in ("torch_s", "elmokit_s", "load_s", "first_s", "prepare_s"):
        seconds = one[name]
        assert isinstance(seconds, float)
        assert 0 < seconds < 100, name
    if sys.platform != "win32":
        assert isinstance(one["peak_mb"], float)
        assert 50 < one["peak_mb"] < 5000
    for way in (one["batch"], one["single"]):
        assert isinstance(way, dict)
        assert (way["sentences"], way["tokens"]) == (3, 18)  # "Do", "n't"; the empty line is none, and the fourth one too many
        assert len(way["pass_s"]) == len(way["floor_s"]) == len(way["float32_floor_s"]) == 2
        assert way["tokens_per_s"] == pytest.approx(18 / min(way["pass_s"]))
        assert way["of_floor"] == pytest.approx(min(way["floor_s"]) / min(way["pass_s"]))
        assert way["of_float32_floor"] == pytest.approx(min(way["float32_floor_s"]) / min(way["pass_s"]))
        assert way["call_median_ms"] <= way["call_p99_ms"] <= 1e3 * min(way["pass_s"])
        assert way["gflop"] > 0
        assert set(way["shares"]) == {"char_cnn", "recurrence", "rest"}
        assert all(0 < share < 1 for share in way["shares"].values())


def test_the_default_text_is_that_of_the_demo() -> None:
    assert list(_lines(None)) == [use.text for use in read_uses()]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--threads", "0"], "--threads must be 1 or more, not 0"),
        (["--sentences", "0"], "--sentences must be 1 or more"),
        (["--repeats", "-1"], "--repeats must be 1 or more"),
        (["--precision", "float8"], "float8"),
        (["--tokenizer", "spaces"], "tokenizer must be one of"),
        (["--text", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--plot", "speed.docx"], "--plot speed.docx: unknown extension"),
        (["--json", "."], ".: is a folder"),
    ],
)
def test_bad_input_is_one_line_before_any_work(options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert complaint in shown.err
    assert shown.err.count("\n") == 1


def test_a_wrong_model_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--model", "nowhere", "--text", text]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "nowhere" in shown.err
    assert shown.err.count("\n") == 1


def test_a_text_without_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    assert main(["bench", "--text", str(tmp_path / "empty.txt")]) == 2
    assert "empty.txt: holds no text" in capsys.readouterr().err
