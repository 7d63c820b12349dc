"""A drawing is there, whole, and says what it was given."""

import sys
from pathlib import Path

import matplotlib
import pytest

from elmokit.errors import MissingExtraError
from elmokit.report.bars import Bar, Panel, check_drawing, draw_bars

PANELS = [
    Panel(
        "tokens/s", [Bar("float32", {"tokens/s": 600.0}, 800.0, "600"), Bar("int8", {"tokens/s": 2000.0})], "the products alone"
    ),
    Panel("share of time, %", [Bar("float32", {"char-CNN": 20.0, "recurrence": 70.0, "rest": 10.0})]),
]


@pytest.mark.parametrize("format", ["png", "pdf", "PNG"])
def test_a_file_of_the_format(format: str, tmp_path: Path) -> None:
    draw_bars(tmp_path / f"speed.{format}", "speed", PANELS)
    begins = {"png": b"\x89PNG", "pdf": b"%PDF"}[format.lower()]
    assert (tmp_path / f"speed.{format}").read_bytes().startswith(begins)
    assert [path.name for path in tmp_path.iterdir()] == [f"speed.{format}"]


def test_all_names_and_as_many_bars_as_parts(tmp_path: Path) -> None:

    with matplotlib.rc_context({"svg.fonttype": "none"}):  # words stay words
        draw_bars(tmp_path / "speed.svg", "Speed here", PANELS)
    svg = (tmp_path / "speed.svg").read_text(encoding="utf-8")
    for words in ("Speed here", "tokens/s", "float32", "int8", "the products alone", "char-CNN", "recurrence", "rest", ">600<"):
        assert words in svg, words
    for color in ("#4477aa", "#ccbb44", "#bbbbbb"):
        assert color in svg


def test_another_suffix_and_no_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"--plot .*speed\.docx: .*\.pdf, \.png, \.svg"):
        check_drawing(tmp_path / "speed.docx", "--plot")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"--plot needs .*elmokit\[report\]"):
        check_drawing(tmp_path / "speed.svg", "--plot")
    assert not list(tmp_path.iterdir())
