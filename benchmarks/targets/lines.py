"""The table: a line for each target, with what was measured beside it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One target and what was measured."""

    what: str
    """Which model, precision and way of running."""
    unit: str
    """What the figures are."""
    target: float
    """What is to be reached."""
    measured: float | None
    """What was; None where it could not be measured."""
    threads: int | None = None
    """PyTorch's; None where it is not about threads."""
    at_most: bool = False
    """Whether the target is to be kept below."""
    how: str = ""
    """Figures behind it: speeds, the range of several processes; or why there are none."""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured <= self.target if self.at_most else self.measured >= self.target

    @property
    def ratio(self) -> float | None:
        """Measured ÷ target; the other way round where the target is a limit, so that above 1 is always good."""
        if not self.measured:
            return None
        return self.target / self.measured if self.at_most else self.measured / self.target


HEADS = ("what", "threads", "target", "measured", "ratio", "", "of what", "how")


def as_table(lines: Sequence[Line]) -> str:
    """Lay out lines in Markdown."""
    rows = [HEADS, *map(_cells, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    drawn = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]])


def _cells(line: Line) -> tuple[str, ...]:
    """One line of the table."""
    return (
        line.what,
        "" if line.threads is None else str(line.threads),
        f"{'≤' if line.at_most else '≥'} {number(line.target, line.unit)}",
        "–" if line.measured is None else number(line.measured, line.unit),
        "–" if line.ratio is None else f"{line.ratio:.2f}",
        {True: "reached", False: "MISSED", None: "not measured"}[line.reached],
        line.unit,
        line.how,
    )


def number(value: float, unit: str = "") -> str:
    """A figure with the digits that matter: those of cosines stand far behind the point."""
    if "cosine" in unit:
        return f"{value:.5f}".rstrip("0").rstrip(".")
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
