"""The table of targets on a tiny model and a few sentences: every row has figures that hang together, however fast they are."""

import importlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.peers.run import about_text, read_sentences
from benchmarks.targets import fidelity, speed
from benchmarks.targets.__main__ import ROWS, main
from benchmarks.targets.fresh import call
from benchmarks.targets.lines import Line, as_table
from benchmarks.targets.machine import gpu_speed

from elmokit.deploy.measure import Job, measure

ROOT = Path(__file__).parent.parent.parent
MODEL = str(ROOT / "tests/golden/data/models/random_tiny")
TEXT = "I sat by the river bank .\nThe bank raised its interest rates .\nHello !\n"
OPTIONS = ["--original", MODEL, "--small", MODEL, "--trained", MODEL, "--threads", "1", "--repeats", "1"]
OPTIONS += ["--lengths", "40", "80", "--seconds", "0", "--document", "60", "--memory", "50", "500", "--embedded", "200"]
SCRIPTS = ("workers", "documents", "memory")
"""Rows that run other scripts."""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def peers(tmp_path: Path, text: Path) -> Path:
    """What two peers are said to reach."""
    sentences = read_sentences(text)
    rows = [
        {"peer": peer, "model": model, "mode": mode, "threads": 1, "tokens_per_s": 10.0}
        for peer, model in (("allennlp", "original"), ("allennlp-torch2", "small"), ("bert", "bert"))
        for mode in ("batch", "single")
    ]
    path = tmp_path / "peers.json"
    apart = {"peer": "elmokit", "model": "small", "to": "allennlp", "sentences": 3, "max_abs": 2e-6, "mean_cosine": 0.9997}
    differences = [apart | {"precision": precision} for precision in ("float32", "int8")]
    report = {"text": about_text(text, sentences), "rows": rows, "differences": differences}
    path.write_text(json.dumps(report), encoding="utf-8")
    return path


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the time of starting processes; what they would run is run here."""

    def here(module: str, function: str, threads: int, **arguments: Any) -> Any:
        found = importlib.import_module(f"benchmarks.targets.{module}")
        return json.loads(json.dumps(getattr(found, function)(**arguments)))

    def found_here(job: Job) -> dict[str, Any]:
        return measure(job)

    monkeypatch.setattr(fidelity, "call", here)
    monkeypatch.setattr(speed, "in_fresh_process", found_here)


@pytest.mark.usefixtures("in_this_process")
def test_every_row_has_figures(text: Path, peers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in ROWS if row not in SCRIPTS]
    assert main([str(text), *OPTIONS, "--rows", *rows, "--peers", str(peers), "--json", str(tmp_path / "out.json")]) == 0
    check_lines(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["lines"], capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_row_has_figures_in_fresh_processes(text: Path, peers: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.targets", str(text), *OPTIONS, "--peers", str(peers)]
    done = subprocess.run([*command, "--json", str(tmp_path / "out.json")], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["lines"]
    check_lines(lines, done.stdout)
    told = {line["what"]: line for line in lines}
    assert told["elmo embed --workers 2, into one file"]["measured"] > 0
    assert told["trained, float32, one document"]["measured"] >= 1
    assert told["original, float32, one document"]["how"].count(":") == 3
    assert told["tiny, a document of 500 tokens, out="]["measured"] > 0.5


def check_lines(lines: list[dict[str, Any]], shown: str) -> None:
    """What must be true of all figures, on any machine."""
    by_name = {(line["what"], line["unit"]): line for line in lines}
    assert len(by_name) == len(lines)
    for line in lines:
        assert f"| {line['what']} " in shown
        if line["measured"] is None:
            assert line["how"]
            assert not line["reached"]
            continue
        assert math.isfinite(line["measured"])
        assert line["measured"] > 0
        below = line["measured"] <= line["target"]
        assert line["reached"] == (below if line["at_most"] else line["measured"] >= line["target"])
        assert (line["ratio"] >= 1) == line["reached"]
        if "cosine" in line["unit"]:
            assert 0.9 < line["measured"] < 1.0001
    floor = by_name["original, float32, batch", "× the float32 floor"]
    tokens_per_s, of_floor = (float(figure.replace(",", "")) for figure in re.findall(r"[\d,.]+(?= tokens/s|$)", floor["how"]))
    assert tokens_per_s / of_floor == pytest.approx(floor["measured"], rel=0.02)
    assert by_name["original, float32, batch", "× AllenNLP"]["measured"] == pytest.approx(tokens_per_s / 10, rel=0.02)
    assert ("small, int8, batch", "× AllenNLP") in by_name
    assert by_name["original, int8, batch", "× bert, words/s"]["measured"] > 0
    assert by_name["small, int8, batch", "× minilm, words/s"]["measured"] is None
    for layer in (0, 1, 2):
        exact, rounded = (by_name[f"trained, {name}, layer {layer}", "cosine to float32, mean"] for name in ("bfloat16", "int8"))
        assert 1 - exact["measured"] < 0.5 * (1 - rounded["measured"])


def test_a_function_of_a_fresh_process(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("fidelity", "cut", 1, texts=[["a", "b"], ["c", "d"]], tokens=3) == [["a", "b"], ["c"]]
    with pytest.raises(SystemExit, match=r"cut of benchmarks/targets/fidelity\.py failed"):
        call("fidelity", "cut", 1, texts=None, tokens=3)
    assert "TypeError" in capfd.readouterr().err


def test_figures_of_other_sentences_are_refused(text: Path, peers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(text), *OPTIONS, "--rows", "usual", "--peers", str(peers)]
    assert main([*options, "--sentences", "2"]) == 2
    assert "peers.json: measured on other sentences (text.txt, 3 of them)" in capsys.readouterr().err


def test_a_text_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.txt"]) == 2
    assert "nowhere.txt" in capsys.readouterr().err


def test_the_gpu_row_as_far_as_a_cpu_goes() -> None:
    found = gpu_speed([], 300, repeats=1, device="cpu", tiny=True, processes=1)
    assert found is not None
    assert 300 <= found["tokens"] < 340
    assert found["tokens_per_s"] > 0


def test_cosines_of_each_layer_and_token() -> None:
    a_LND = np.array([[[1, 0], [0, 2]], [[1, 1], [3, 4]]], np.float32)
    b_LND = np.array([[[2, 0], [2, 0]], [[1, 1], [4, 3]]], np.float32)
    assert fidelity.cosines(a_LND, b_LND) == pytest.approx(np.array([[1, 0], [1, 24 / 25]]))


def test_a_document_is_cut_at_so_many_tokens() -> None:
    assert fidelity.cut([["a", "b"], ["c", "d"], ["e"]], 3) == [["a", "b"], ["c"]]
    assert sum(map(len, fidelity.cut([["a"]] * 5, 5))) == 5


def test_lines_say_what_is_reached() -> None:
    lines = [
        Line("fast enough", "× the float32 floor", 0.8, 0.9, threads=1),
        Line("too slow", "s", 0.3, 0.6, at_most=True),
        Line("not here", "tokens/s", 500_000, None, how="no GPU here"),
    ]
    assert [line.reached for line in lines] == [True, False, None]
    assert [line.ratio for line in lines] == [pytest.approx(1.125), pytest.approx(0.5), None]
    table = as_table(lines).splitlines()
    assert len({len(line) for line in table}) == 1
    assert [cell.strip() for cell in table[3].split("|")[1:-1]] == ["too slow", "", "≤ 0.3", "0.6", "0.50", "MISSED", "s", ""]
