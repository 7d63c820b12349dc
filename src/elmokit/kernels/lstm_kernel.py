"""What all kernels are: one LSTM layer with prepared weights, in several directions side by side.

They compute what `elmokit.model.lstm.run_lstm` computes, to rounding. Time is the first axis, so that what a step reads
and writes lies together. Shapes: S directions, T tokens, B sentences, D input, P output, H cell.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from elmokit.model.lstm import LstmState

Lengths = NDArray[np.int64]
WordNumbers = NDArray[np.int64]
"""Which word stands where: tokens with the same number have the same vector."""


class LstmKernel(Protocol):
    """One layer, in each of S directions; for inference only."""

    def run(
        self,
        x_STBD: Sequence[Tensor],
        lengths_B: Lengths | None,
        states: Sequence[LstmState | None],
        words_STB: Sequence[WordNumbers] | None = None,
    ) -> list[tuple[Tensor, LstmState]]:
        """Read each row from its first token to its last.

        Args:
            x_STBD: For each direction the inputs in its own reading order.
            lengths_B: Tokens of each row; what follows them neither moves the state nor gives output. None: all T.
            states: For each direction what was remembered before; None for zeros.
            words_STB: For each direction which inputs are the same; None: nothing is known. Results do not depend on it.

        Returns:
            For each direction outputs y_TBP, float32 and zero past each row's length, and the state after each row's last
            token.
        """
