"""How long to train, in one unit, and how much of it is used."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run has done so far, all its sessions together."""

    steps: int = 0
    """Updates of the weights."""
    tokens: int = 0
    """Targets learned from, in each direction."""
    passes: float = 0.0
    """Passes over the training data."""
    seconds: float = 0.0
    """Time spent in training steps."""
    best_loss: float | None = None
    """The lowest held-out loss that was measured."""
    without_gain: int = 0
    """Measurements since then."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Exactly one limit.

    Raises:
        ValueError: None or several are given, or one is not above 0.
    """

    steps: int | None = None
    """Updates of the weights."""
    tokens: int | None = None
    """Targets in each direction."""
    epochs: float | None = None
    """Passes over the training data."""
    hours: float | None = None
    """Hours of training on this machine."""

    def __post_init__(self) -> None:
        """Check that one limit is given."""
        given = [value for value in (self.steps, self.tokens, self.epochs, self.hours) if value is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of --tokens, --steps, --epochs and --hours")
        if not given[0] > 0:
            raise ValueError(f"the budget (--tokens, --steps, --epochs or --hours) must be above 0, not {given[0]}")

    def used(self, progress: Progress) -> float:
        """Give the share of the budget that is used: 0 at the start, 1 and more when training is over."""
        if self.steps is not None:
            return progress.steps / self.steps
        if self.tokens is not None:
            return progress.tokens / self.tokens
        if self.epochs is not None:
            return progress.passes / self.epochs
        assert self.hours is not None
        return progress.seconds / 3600 / self.hours
