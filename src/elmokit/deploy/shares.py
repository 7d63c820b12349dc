"""Where the time of a run goes: the character network, the recurrence, and all the rest.

The rest: splitting into words and batches, the memory of word vectors, joining the layers, and Python.
"""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from elmokit.kernels.engine import Engine, Kernels
from elmokit.kernels.lstm_kernel import Lengths, LstmKernel, WordNumbers
from elmokit.kernels.products import Precision
from elmokit.model.bilm import BiLM
from elmokit.model.lstm import LstmState


class Stopwatch:
    """Adds up seconds, between `with` and its end.

    Args:
        device: What must have come to rest before a time is taken.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = self._now()

    def __exit__(self, *error: object) -> None:
        self.seconds += self._now() - self._began

    def _now(self) -> float:
        finish(self.device)
        return time.perf_counter()


def finish(device: torch.device) -> None:
    """Wait until a device has done all that it was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class TimedEngine(Engine):
    """An engine that says how long its kernels were at work. Where it has none, both times stay 0.

    Args:
        bilm: The network.
        precision: Of the arithmetic.
    """

    def __init__(self, bilm: BiLM, precision: Precision) -> None:
        super().__init__(bilm, precision)
        self.words = Stopwatch(bilm.device)
        """The network that makes words' vectors."""
        self.recurrence = Stopwatch(bilm.device)
        """The LSTM layers of both directions."""

    def reset(self) -> None:
        """Begin at 0."""
        self.words.seconds = self.recurrence.seconds = 0.0

    def shares(self, seconds: float) -> dict[str, float] | None:
        """Give each part's share of so many seconds; None where the network ran without kernels."""
        words, recurrence = self.words.seconds / seconds, self.recurrence.seconds / seconds
        return {"char_cnn": words, "recurrence": recurrence, "rest": 1 - words - recurrence} if recurrence else None

    def _make_kernels(self) -> Kernels | None:
        """Put a stopwatch round each part."""
        kernels = super()._make_kernels()
        if kernels is None:
            return None

        def words(chars_UW: Tensor) -> Tensor:
            with self.words:
                return kernels.words(chars_UW)

        return Kernels(words, [_TimedLayer(kernel, self.recurrence) for kernel in kernels.layers])


class _TimedLayer:
    """An `LstmKernel` with a stopwatch."""

    def __init__(self, kernel: LstmKernel, stopwatch: Stopwatch) -> None:
        self.kernel, self.stopwatch = kernel, stopwatch

    def run(
        self,
        x_STBD: Sequence[Tensor],
        lengths_B: Lengths | None,
        states: Sequence[LstmState | None],
        words_STB: Sequence[WordNumbers] | None = None,
    ) -> list[tuple[Tensor, LstmState]]:
        """Run the layer."""
        with self.stopwatch:
            return self.kernel.run(x_STBD, lengths_B, states, words_STB)
