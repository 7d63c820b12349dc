"""The picture of a run's log."""

import json
import sys
from pathlib import Path

import matplotlib
import pytest

from elmokit.pretraining.loss_plot import draw_log

RECORDS = [
    {"steps": 50, "tokens": 64000, "loss": 90.0, "tokens_per_second": 4000.0},
    {"steps": 50, "tokens": 64000, "heldout_forward": 300.0, "heldout_backward": None, "heldout_mean": 300.0},
    {"steps": 100, "tokens": 128000, "loss": 5.5, "tokens_per_second": 4100.0},
    {"steps": 100, "final": {"forward": 250.0}},
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    return path


def test_it_is_drawn(log: Path, tmp_path: Path) -> None:
    """A torn line, and what a restart did once more, spoil nothing."""
    with log.open("a", encoding="utf-8") as file:
        file.write('{"steps": 150, "tok\n')
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # words stay words
        assert draw_log(log, tmp_path / "loss.svg")
    svg = (tmp_path / "loss.svg").read_text(encoding="utf-8")
    for words in ("perplexity", "tokens/s", "training", "held out, forward", "targets in each direction, millions"):
        assert words in svg, words
    assert "held out, backward" not in svg, "it has no backward direction"


def test_not_without_matplotlib_nor_from_nothing(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert not draw_log(tmp_path / "empty.jsonl", tmp_path / "loss.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not draw_log(log, tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()
