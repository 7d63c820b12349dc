"""The log of a run as a picture: how the loss fell, in training and on the held-out text, and how fast training was."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elmokit.errors import MissingExtraError
from elmokit.report.curves import Curve, CurvePanel, draw_curves
from elmokit.training.log import read_log

_STEEPEST = 20.0
"""exp of more than that tells nothing, and spoils the scale."""


def draw_log(log: Path, picture: Path) -> bool:
    """Draw what `log.jsonl` holds.

    Args:
        log: The log.
        picture: A file ending in .png, .svg or .pdf.

    Returns:
        Whether it was drawn: not without matplotlib (the extra `report`), nor from an empty log.
    """
    records = read_log(log)
    trained = [record for record in records if "loss" in record]
    heldout = [record for record in records if "heldout_mean" in record]
    if not trained:
        return False
    curves = [_curve("training", trained, [math.exp(min(record["loss"], _STEEPEST)) for record in trained])]
    for way in ("forward", "backward"):
        known = [record for record in heldout if record.get(f"heldout_{way}") is not None]
        curves.append(_curve(f"held out, {way}", known, [record[f"heldout_{way}"] for record in known], marks=True))
    speed = [_curve("", trained, [record["tokens_per_second"] for record in trained])]
    panels = [CurvePanel("perplexity", [curve for curve in curves if curve.y], log_y=True), CurvePanel("tokens/s", speed)]
    try:
        draw_curves(picture, picture.parent.name.removesuffix(".training"), "targets in each direction, millions", panels)
    except MissingExtraError:
        return False
    return True


def _curve(label: str, records: Sequence[dict[str, Any]], y: Sequence[float], marks: bool = False) -> Curve:
    """A line over the targets learned from."""
    return Curve(label, [record["tokens"] / 1e6 for record in records], y, marks)
