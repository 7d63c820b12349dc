"""Sizes and ways of training, by name."""

from dataclasses import dataclass
from typing import Literal

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.training.schedule import ScheduleName

RecipeName = Literal["reference", "modern"]
PresetName = Literal["tiny", "mini", "small", "medium", "original"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A way of training."""

    optimizer: RecipeName
    """"reference": Adagrad, gradient of loss × window. "modern": AdamW, and Adagrad for tables of words."""
    learning_rate: float
    """The highest rate."""
    schedule: ScheduleName
    """How the rate changes over the run; see `elmokit.training.schedule`."""
    clip_norm: float
    """All gradients together are scaled to this norm at the most."""
    batch_size: int
    """B: streams side by side."""
    window: int = 20
    """T: places of a window, over which gradients flow."""
    negatives: int | None = 8192
    """Candidates of the sampled softmax; None, or as many as the vocabulary has words: the full softmax."""
    dropout: float = 0.1
    """On each layer's input and on the last layer's output."""
    fresh_sentences: bool = False
    """Whether a sentence that begins with a window is read without what came before it, as `Elmo` reads every sentence."""
    layer_factor: float = 1.0
    """The rate of each layer as a share of that of the layer above it; the top LSTM and the softmax have the rate itself."""
    head_first: float = 0.0
    """Share of the budget, from the start, in which the softmax alone is learned."""
    character_noise: float = 0.0
    """Share of a window's distinct words that are read with a spelling mistake."""

    def __post_init__(self) -> None:
        """Refuse what cannot train.

        Raises:
            ValueError: Names the option and what it may be.
        """
        for name in ("learning_rate", "clip_norm", "batch_size", "window", "negatives"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"--{name.replace('_', '-')} must be above 0, not {value}")
        if not 0 < self.layer_factor <= 1:
            raise ValueError(f"--layer-factor must be above 0, and 1 at most, not {self.layer_factor}")
        for name in ("dropout", "head_first", "character_noise"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 0 and below 1, not {getattr(self, name)}")


RECIPES = {
    "reference": Recipe(optimizer="reference", learning_rate=0.2, schedule="constant", clip_norm=10.0, batch_size=128),
    "modern": Recipe(
        optimizer="modern",
        learning_rate=5e-3,
        schedule="trapezoid",
        clip_norm=1.0,
        batch_size=64,
        negatives=2048,
        fresh_sentences=True,
    ),
}
"""`reference` is bilm-tf's. `modern` was found by measuring: docs/pretraining.md has the runs."""


def _preset(cell_dim: int, projection_dim: int, highways: int, filters: tuple[tuple[int, int], ...] | None = None) -> BiLMConfig:
    """Write a published shape in one line."""
    char_cnn = CharCnnConfig(highways=highways) if filters is None else CharCnnConfig(highways=highways, filters=filters)
    return BiLMConfig(char_cnn=char_cnn, cell_dim=cell_dim, projection_dim=projection_dim)


PRESETS = {
    "tiny": _preset(512, 64, 1, ((1, 32), (2, 32), (3, 64), (4, 128))),
    "mini": _preset(512, 128, 1, ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256))),
    "small": _preset(1024, 128, 1),
    "medium": _preset(2048, 256, 1),
    "original": _preset(4096, 512, 2),
}
"""`small`, `medium` and `original` are the published sizes; `tiny` learns on a laptop within the hour,
`mini` (that of the bundled models) in a few."""
