"""Horizontal bars, one panel below the other: few numbers, with their names beside them.

A bar may have parts, laid end to end, and a mark: a value to hold it against. matplotlib draws, without its global state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from elmokit.atomic import atomic_path
from elmokit.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("pdf", "png", "svg")
COLORS = ("#4477aa", "#ccbb44", "#bbbbbb", "#66ccee", "#ee6677", "#228833")
"""Of parts, in their order: Paul Tol's, which the color-blind can tell apart."""


@dataclass(frozen=True)
class Bar:
    """One bar."""

    label: str
    """What stands beside it."""
    parts: Mapping[str, float]
    """The lengths that it is made of, by name; the same names in all bars of a panel."""
    mark: float | None = None
    """Where a line crosses it; None for none."""
    text: str = ""
    """What stands behind it."""


@dataclass(frozen=True)
class Panel:
    """Bars of one scale."""

    title: str
    """What is measured, and its unit."""
    bars: Sequence[Bar]
    """From above."""
    mark: str = ""
    """What the marks are."""


def check_drawing(path: Path, option: str) -> None:
    """Refuse, before any work, what could not be drawn.

    Args:
        path: Where the drawing shall go.
        option: How the user spells what this is the value of.

    Raises:
        ValueError: The suffix stands for no format of drawings.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise ValueError(f"{option} {path}: unknown extension; a plot ends in {', '.join('.' + name for name in FORMATS)}")
    try:
        import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingExtraError(option, "report") from error


def draw_bars(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Draw panels into a file; it is written whole or not at all.

    Args:
        path: A file ending in .png, .svg or .pdf.
        title: What stands above all.
        panels: From above.

    Raises:
        ValueError: The suffix stands for no format of drawings.
        MissingExtraError: matplotlib is not installed.
    """
    check_drawing(path, "a plot")
    from matplotlib.figure import Figure

    heights = [1.1 + 0.32 * len(panel.bars) for panel in panels]
    figure = Figure(figsize=(8, 0.5 + sum(heights)), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, panel)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower().removeprefix("."), dpi=150)


def _draw_panel(axis: "Axes", panel: Panel) -> None:
    """Draw bars, the first one uppermost."""
    places = range(len(panel.bars))
    ends = [0.0] * len(panel.bars)
    names = list(dict.fromkeys(name for bar in panel.bars for name in bar.parts))
    for number, name in enumerate(names):
        lengths = [bar.parts.get(name, 0.0) for bar in panel.bars]
        axis.barh(places, lengths, left=ends, height=0.6, color=COLORS[number % len(COLORS)], label=name)
        ends = [end + length for end, length in zip(ends, lengths, strict=True)]
    marked = [(place, bar.mark) for place, bar in zip(places, panel.bars, strict=True) if bar.mark is not None]
    if marked:
        rows, marks = zip(*marked, strict=True)
        axis.scatter(marks, rows, marker="|", s=250, linewidths=2, color="black", label=panel.mark)
    for place, (bar, end) in enumerate(zip(panel.bars, ends, strict=True)):
        axis.annotate(
            bar.text, (max(end, bar.mark or 0), place), xytext=(5, 0), textcoords="offset points", va="center", fontsize="small"
        )
    axis.set_yticks(places, [bar.label for bar in panel.bars])
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set_xlim(left=0)
    axis.xaxis.set_major_formatter("{x:,.12g}")
    axis.set_title(panel.title, loc="left", fontsize="medium")
    if len(names) > 1 or marked:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", frameon=False, markerscale=0.5)
    axis.spines[["top", "right"]].set_visible(False)
