"""Recipes beside each other: real runs of a few steps, and one that is ended on the way and gone on with."""

import contextlib
import io
import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from benchmarks.long_runs import Row
from benchmarks.recipes import RUNS, draw, elmo, main, parse, pretrain_options, table
from tests.pretraining.conftest import sentences

from benchmarks import recipes
from elmokit.checkpoints.folder import load_folder
from elmokit.cli.main import main as elmo_main
from elmokit.training.log import read_log

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Of a call: texts, and a small size."""
    for name, number in (("train", 800), ("heldout", 30), ("test", 20)):
        (tmp_path / f"{name}.txt").write_text("\n".join(sentences(number, seed=number)) + "\n", encoding="utf-8")
    files = [word for name in ("train", "heldout", "test") for word in (f"--{name}", str(tmp_path / f"{name}.txt"))]
    return [*files, "--out", str(tmp_path / "out"), "--vocab-size", "60", "--tokens", "2000", "--minutes", "0.001"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Spare the time of starting processes: `elmo` runs here; gives the commands that were run."""
    seen: list[str] = []

    def here(command: Sequence[str], log: Path, threads: int) -> str:
        seen.append(f"{command[0]} {threads}")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert elmo_main(command) == 0
        return printed.getvalue()

    monkeypatch.setattr(recipes, "elmo", here)
    return seen


def test_what_is_trained() -> None:
    """The words of the command line, read as `elmo pretrain` reads them."""
    files = ["--train", "a", "--heldout", "b", "--test", "c", "--out", "d"]
    given = parse([*files, "--tokens", "4600000", "--minutes", "36"])
    words = {run: " ".join(pretrain_options(given, run, 7)) for run in RUNS}
    same = "--preset tiny --vocab-size 10002 --tokenizer whitespace --layout lines --seed 7 --device cpu"
    assert words == {
        "reference": f"--recipe reference --negatives 2048 --batch-size 128 --precision float32 --tokens 4600000 {same}",
        "modern-tokens": f"--recipe modern --precision bfloat16 --tokens 4600000 {same}",
        "modern-time": f"--recipe modern --precision bfloat16 --hours 0.6 {same}",
    }


def test_all_runs_are_trained_measured_and_not_repeated(
    tmp_path: Path, options: list[str], calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([*options, "--seeds", "1", "--plot", str(tmp_path / "curves.svg")]) == 0
    printed = capsys.readouterr().out
    assert calls == ["pretrain 1", "perplexity 1"] * 3
    rows = json.loads((out / "recipes.json").read_text())["rows"]
    assert [(row["run"], row["seed"]) for row in rows] == [(run, 1) for run in RUNS]
    test_tokens = sum(len(line.split()) + 1 for line in (tmp_path / "test.txt").read_text().splitlines())
    for row in rows:
        assert row["test_tokens"] == test_tokens, "the test text is measured, not the held-out one"
        assert row["test_mean"] == pytest.approx(math.sqrt(row["test_forward"] * row["test_backward"]))
        assert row["test_mean"] != row["heldout_mean"]
        assert row["tokens_per_second"] == pytest.approx(row["million_tokens"] * 1e6 / row["minutes"] / 60)
        assert row["wall_minutes"] > row["minutes"] > 0
        minutes, perplexity = row["curve"][-1]
        assert minutes == row["minutes"]
        assert perplexity == pytest.approx(row["heldout_mean"], rel=0.5), "the head of the same text, in several streams"
    assert [row["steps"] for row in rows] == [1, 2, 1], "128 × 20 and 64 × 20 targets a step; a tenth of a second"
    cards = [load_folder(out / f"{run}-1").config.text.tokenizer for run in RUNS]
    assert cards == ["whitespace"] * 3
    assert f"{rows[0]['test_mean']:,.2f}" in printed
    assert (tmp_path / "curves.svg").stat().st_size > 1000

    assert main([*options, "--seeds", "1"]) == 0
    assert capsys.readouterr().out == printed
    assert len(calls) == 6, "nothing was run again"

    assert main([*options, "--seeds", "1", "--runs", "modern-tokens", "--tokens", "4000"]) == 2
    assert "modern-tokens-1 was begun with other settings; give the same or another --out" in capsys.readouterr().err


def test_what_cannot_be_done(tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test.txt").unlink()
    assert main(options) == 2
    assert "test.txt: no such file" in capsys.readouterr().err
    assert main([*options, "--plot", "curves.doc"]) == 2
    assert "--plot curves.doc: unknown extension" in capsys.readouterr().err


def test_an_error_of_elmo_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"elmo perplexity ended with status 2: .*missing.* \(.*a\.log\)"):
        elmo(["perplexity", str(tmp_path / "missing"), str(tmp_path / "text.txt")], tmp_path / "a.log", 1)


def test_of_what_was_done_twice_the_second_time_counts(tmp_path: Path) -> None:
    records = [
        {"steps": 50, "loss": 5.0},
        {"steps": 80, "heldout_mean": 90.0},
        {"steps": 100, "loss": 4.0},
        {"steps": 150, "loss": 3.0},
        {"steps": 100, "loss": 4.1},
        {"steps": 100, "heldout_mean": 80.0},
        {"steps": 100, "final": {}},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert read_log(path) == [*records[:2], *records[4:]]


def row_of(run: str, seed: int, mean: float) -> Row:
    names = [name for name, _ in recipes.COLUMNS.values()]
    curve = [[1.0, 300.0], [2.0, mean]]
    return {"run": run, "seed": seed, **dict.fromkeys(names, 1000.0), "test_mean": mean, "curve": curve}


def test_the_table_has_means_over_seeds() -> None:
    rows = [row_of("reference", 1, 100.0), row_of("reference", 2, 104.0), row_of("modern-time", 1, 90.0)]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(rows).splitlines()]
    assert [cell[:2] + cell[4:5] for cell in cells[2:]] == [
        ["reference", "1", "100.00"],
        ["reference", "2", "104.00"],
        ["reference", "mean ± sd", "102.00 ± 2.83"],
        ["modern-time", "1", "90.00"],
    ]
    assert cells[4][-1] == "1,000 ± 0"


def test_a_color_for_each_run_and_a_line_for_each_seed(tmp_path: Path) -> None:
    rows = [row_of("reference", 1, 100.0), row_of("reference", 2, 104.0), row_of("modern-time", 1, 90.0)]
    draw(rows, tmp_path / "curves.svg", "tiny")
    svg = (tmp_path / "curves.svg").read_text()
    lines = re.findall(r'<path d="([^"]*)" clip-path[^>]*stroke: (#4477aa|#ccbb44)', svg)
    assert [(color, path.count("M ")) for path, color in lines] == [("#4477aa", 2), ("#ccbb44", 1)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
def test_what_is_ended_takes_elmo_with_it_and_goes_on(tmp_path: Path, options: list[str]) -> None:
    out = tmp_path / "out"
    command = [*options, "--seeds", "1", "--runs", "modern-time", "--minutes", "0.1", "--checkpoint-minutes", "0"]
    program = subprocess.Popen([sys.executable, "-m", "benchmarks.recipes", *command], cwd=ROOT)
    log = out / "modern-time-1.training/log.jsonl"
    began = time.monotonic()
    while not (log.exists() and log.read_text()):
        assert program.poll() is None
        assert time.monotonic() - began < 200
        time.sleep(0.05)
    (elmo_process,) = psutil.Process(program.pid).children()
    program.send_signal(signal.SIGTERM)
    assert program.wait(60) == 128 + signal.SIGTERM
    assert not elmo_process.is_running()
    state = json.loads((out / "modern-time-1.json").read_text())
    assert state["found"] is None
    assert state["wall_seconds"] > 1
    assert main(command) == 0
    assert "going on from step" in (out / "modern-time-1.log").read_text()
    (row,) = json.loads((out / "recipes.json").read_text())["rows"]
    assert row["minutes"] >= 0.1
    assert row["wall_minutes"] > state["wall_seconds"] / 60 + 0.01
    assert [minutes for minutes, _ in row["curve"]] == sorted(minutes for minutes, _ in row["curve"])
