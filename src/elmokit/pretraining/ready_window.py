"""A window with all that depends on the text and the step alone, and where reading stood: read ahead of the training.

A checkpoint between reading and training holds the place before the window, so that going on from it reads the window again.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from elmokit.lm.language_model import LmBatch
from elmokit.model.softmax import Candidates
from elmokit.text.streams import Ids, StreamWindow


class Place(NamedTuple):
    """Where reading stands."""

    unread: list[Ids]
    """What is left of each row's sentence: see `SentenceStreams`."""
    finished_passes: int
    position: int
    """Sentences read in the present pass."""


class ReadyWindow(NamedTuple):
    """What one step reads, on its device."""

    window: StreamWindow
    batches: list[LmBatch]
    """Of each part of the rows."""
    begins: list[Tensor]
    """Of each part: which rows begin with a sentence."""
    candidates: tuple[Candidates, ...] | None
    """Of each direction; None for the full softmax."""
    began: float
    """Passes over the text before it was read."""
    ended: float
    """And after."""


def generator_of(seed: int, step: int, what: int) -> torch.Generator:
    """Give random numbers that depend on these three alone."""
    words = np.random.SeedSequence([seed, step, what]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
