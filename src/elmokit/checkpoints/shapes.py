"""What the shapes of a model's tensors say of it, for formats that come without `options.json`.

What shapes cannot say is taken from the published models, which all agree: clips of 3, relu, skip connections, words of
50 characters.
"""

import re
from collections.abc import Mapping
from typing import Any

from elmokit.checkpoints.layout import EMBEDDING, lstm_group
from elmokit.errors import FormatError

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes by their names in the published HDF5 files."""


def published_options(shapes: Shapes, origin: str) -> dict[str, Any]:
    """Make up the `options.json` that a model of these shapes would have.

    Args:
        shapes: The tensors' shapes by their names in the published HDF5 files.
        origin: Where they were found, for messages.

    Raises:
        FormatError: `origin` and the tensor that is missing or has too few dimensions.
    """
    layers = _count(r"RNN_0/RNN/MultiRNNCell/Cell(\d+)/LSTMCell/W_0", shapes)
    cell, projection = f"{lstm_group(0, 0)}/B", f"{lstm_group(0, 0)}/W_P_0"
    filters = []
    for i in range(_count(r"CNN/W_cnn_(\d+)", shapes)):
        _, width, _, number = _shape(shapes, f"CNN/W_cnn_{i}", 4, origin)
        filters.append([width, number])
    return {
        "lstm": {
            "dim": _shape(shapes, cell, 1, origin)[0] // 4,
            "projection_dim": _shape(shapes, projection, 2, origin)[1] if projection in shapes else None,
            "n_layers": layers,
            "cell_clip": 3,
            "proj_clip": 3,
            "use_skip_connections": True,
        },
        "char_cnn": {
            "embedding": {"dim": _shape(shapes, EMBEDDING, 2, origin)[1]},
            "filters": filters,
            "n_highway": _count(r"CNN_high_(\d+)/W_carry", shapes),
            "activation": "relu",
            "max_characters_per_token": 50,
        },
    }


def _count(pattern: str, shapes: Shapes) -> int:
    """How many tensors have names of this pattern."""
    return sum(re.fullmatch(pattern, name) is not None for name in shapes)


def _shape(shapes: Shapes, name: str, dimensions: int, origin: str) -> tuple[int, ...]:
    """The shape of a tensor that must be there."""
    shape = shapes.get(name)
    if shape is None or len(shape) != dimensions:
        found = "missing" if shape is None else f"of shape {shape}"
        raise FormatError(f"{origin}: tensor {name} is {found}, expected one of {dimensions} dimensions; is this an ELMo model?")
    return shape
