"""Curves are drawn whole, with their names, and nothing is left where they cannot be."""

import sys
from pathlib import Path

import matplotlib
import pytest

from elmokit.errors import MissingExtraError
from elmokit.report.curves import Curve, CurvePanel, draw_curves

PANELS = [
    CurvePanel(
        "perplexity", [Curve("training", [1, 2, 3], [900, 300, 120]), Curve("held out", [2, 3], [310, 140], marks=True)], True
    ),
    CurvePanel("tokens/s", [Curve("", [1, 2, 3], [5000, 5100, 5200])]),
]


def test_all_names_and_a_line_for_each(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # words stay words
        draw_curves(tmp_path / "loss.svg", "my-elmo", "millions of targets", PANELS, log_x=True)
    svg = (tmp_path / "loss.svg").read_text(encoding="utf-8")
    for words in ("my-elmo", "millions of targets", "perplexity", "training", "held out", "tokens/s"):
        assert words in svg, words
    assert all(color in svg for color in ("#4477aa", "#ccbb44"))
    assert [path.name for path in tmp_path.iterdir()] == ["loss.svg"]


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"elmokit\[report\]"):
        draw_curves(tmp_path / "loss.svg", "my-elmo", "targets", PANELS)
    assert not list(tmp_path.iterdir())
