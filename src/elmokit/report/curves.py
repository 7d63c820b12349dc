"""Curves: how one number changes with another, a line for each of a few things. matplotlib draws, without its global state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elmokit.atomic import atomic_path
from elmokit.report.bars import COLORS, check_drawing


@dataclass(frozen=True)
class Curve:
    """One line of a panel."""

    label: str
    """What it is of; "" where there is one line only."""
    x: Sequence[float]
    y: Sequence[float]
    marks: bool = False
    """Whether each point is marked: for a few measured points."""


@dataclass(frozen=True)
class CurvePanel:
    """Lines of one scale."""

    y_label: str
    """What is measured, and its unit."""
    curves: Sequence[Curve] = field(default_factory=tuple)
    log_y: bool = False
    """Whether the scale is logarithmic."""


def draw_curves(path: Path, title: str, x_label: str, panels: Sequence[CurvePanel], log_x: bool = False) -> None:
    """Draw panels, one below the other, over one x axis; the file is written whole or not at all.

    Args:
        path: A file ending in .png, .svg or .pdf.
        title: What stands above all.
        x_label: What the x axis is, and its unit.
        panels: From above.
        log_x: Whether the x axis is logarithmic.

    Raises:
        ValueError: The suffix stands for no format of drawings.
        MissingExtraError: matplotlib is not installed.
    """
    check_drawing(path, "a plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.8 + 3 * len(panels)), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        for number, curve in enumerate(panel.curves):
            marker = "o" if curve.marks else None
            axis.plot(curve.x, curve.y, color=COLORS[number % len(COLORS)], label=curve.label, marker=marker, markersize=4)
        axis.set_ylabel(panel.y_label)
        axis.set_xscale("log" if log_x else "linear")
        axis.set_yscale("log" if panel.log_y else "linear")
        axis.xaxis.set_major_formatter("{x:,.12g}")
        axis.yaxis.set_major_formatter("{x:,.12g}")
        axis.yaxis.set_minor_formatter("{x:,.12g}" if panel.log_y and _narrow(panel) else "")
        axis.grid(visible=True, alpha=0.3)
        if any(curve.label for curve in panel.curves):
            axis.legend(fontsize="small", frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(x_label)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower().removeprefix("."), dpi=150)


def _narrow(panel: CurvePanel) -> bool:
    """Whether a logarithmic scale would show less than two powers of ten, and so needs numbers in between."""
    values = [y for curve in panel.curves for y in curve.y]
    return bool(values) and max(values) < 30 * min(values)
