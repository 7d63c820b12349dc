"""A biLM's inference with prepared weights: word vectors → layers, as `model/bilm.py` computes them, faster.

Weights are prepared when they are first needed for more than a few tokens, and anew when they have changed. What has no
kernel here (another device, another type of numbers, a few tokens alone) the biLM itself computes.
Shapes: L layers, the word vectors counted, S directions, B sentences, T tokens with marks, U distinct words, W characters,
P one direction's width.
"""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elmokit.errors import is_out_of_memory
from elmokit.kernels.cpu_lstm import WORDS_BYTES, CpuLstm
from elmokit.kernels.gpu_lstm import GpuLstm, GpuPrecision
from elmokit.kernels.gpu_words import GpuCharCnn
from elmokit.kernels.headroom import check_room
from elmokit.kernels.lstm_kernel import Lengths, LstmKernel, WordNumbers
from elmokit.kernels.product import MakeProduct
from elmokit.kernels.products import Precision, check_precision, make_product
from elmokit.kernels.tf32 import tf32_asked_for
from elmokit.kernels.words import fast_words
from elmokit.model.bilm import BiLM, BiLMState, StackState
from elmokit.model.char_cnn import CharCnn
from elmokit.model.lstm import LstmLayer, LstmState
from elmokit.text.batch import WordBatch

PREPARE_FROM = 64
"""Tokens, of all calls since the weights changed, from which preparing them pays in float32."""

LOOKED_AT = 64
"""Numbers of each tensor, at least, by which changes are noticed that PyTorch does not count."""

_LOG = logging.getLogger(__name__)


class Kernels(NamedTuple):
    """A biLM's parts with prepared weights."""

    words: Callable[[Tensor], Tensor]
    """chars_UW → x_UP."""
    layers: list[LstmKernel]
    """The LSTM layers, lowest first; forward is the first direction of each, backward (if there is one) the second."""


Prepare = Callable[[BiLM], Kernels]


def cpu_kernels(bilm: BiLM, precision: Precision, make: MakeProduct | None = None) -> Kernels:
    """Prepare a biLM's weights for the CPU.

    Args:
        bilm: The network, float32 on the CPU.
        precision: Of its products.
        make: Prepares one matrix; None: `make_product`.
    """
    make = partial(make_product, precision=precision) if make is None else make
    bounds = [input_bound(bilm, number) for number in range(bilm.config.layers)]
    apart = precision == "float32"
    bounded = zip(layers_of_directions(bilm), bounds, strict=True)
    return Kernels(fast_words(bilm.words, make), [CpuLstm(layers, make, bound, apart) for layers, bound in bounded])


def gpu_kernels(bilm: BiLM, precision: Precision) -> Kernels:
    """Prepare a biLM's weights for a GPU. In float32 its products are TF32 where PyTorch was told so.

    Args:
        bilm: The network, float32.
        precision: "float32" or "bfloat16".

    Raises:
        ValueError: Another precision.
    """
    if precision == "int8":
        raise ValueError('precision="int8" is for the CPU; on a GPU say "bfloat16"')
    in_float32: GpuPrecision = "tf32" if tf32_asked_for() else "float32"
    products: GpuPrecision = "bfloat16" if precision == "bfloat16" else in_float32
    words = GpuCharCnn(bilm.words, products) if isinstance(bilm.words, CharCnn) else bilm.words
    return Kernels(words, [GpuLstm(layers, products) for layers in layers_of_directions(bilm)])


def layers_of_directions(bilm: BiLM) -> list[list[LstmLayer]]:
    """Give each layer of all directions, lowest first."""
    same = zip(*(stack.layers for stack in bilm.stacks), strict=True)
    return [[layer for layer in layers if isinstance(layer, LstmLayer)] for layers in same]


def input_bound(bilm: BiLM, number: int) -> float | None:
    """What the inputs of LSTM layer `number` (from 0) keep within ±; None: nothing is known, as of words' vectors."""
    config = bilm.config
    output = 1.0 if config.projection_dim is None else config.projection_clip
    # With skip connections layers above the second read sums of several outputs.
    return output if number == 1 or (number > 1 and not config.skip_connections) else None


class Engine:
    """Runs a biLM without gradients. It may be called from several threads.

    Weights may change between calls: that is noticed, but for single numbers written by way of `.data`, after which `forget`
    is to be called.

    Args:
        bilm: The network; it stays as it is.
        precision: Of the arithmetic; what is given back is float32.
        prepare: Makes the kernels of a network on the CPU; None: by `precision`.

    Raises:
        ValueError: An unknown precision.
    """

    def __init__(self, bilm: BiLM, precision: Precision = "float32", prepare: Prepare | None = None) -> None:
        check_precision(precision)
        self.bilm = bilm
        self.precision: Precision = precision
        self.version = 0
        """Another whenever weights have changed or been prepared: with it what was computed before is out of date."""
        self.preparing_s = 0.0
        """Seconds that preparing the weights took; 0 before."""
        self._prepare = prepare
        self._kernels: Kernels | None = None
        self._weights: list[Any] = []
        self._expected = 0
        self._too_large = False  # prepared weights, for the memory that there is
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes prepare weights of their own."""
        return Engine, (self.bilm, self.precision, self._prepare)

    def forget(self) -> None:
        """Prepare the weights anew when they are next needed."""
        with self._lock:
            self._weights = []

    def expect(self, tokens: int) -> None:
        """Say that so many tokens are to come, and prepare the weights if that is worth its time.

        Where memory is too small for prepared float32 weights, a warning says so, and the biLM computes by itself.

        Raises:
            ValueError: The network's device has no kernels of this precision.
            MemoryError: It is too small for weights of another precision.
        """
        with self._lock:
            weights = _identity(self.bilm)
            if weights != self._weights:
                self._kernels, self._weights, self._expected, self._too_large = None, weights, 0, False
                self.version += 1
            self._expected += tokens
            worth = (self.precision != "float32" or self._expected >= PREPARE_FROM) and not self._too_large
            if self._kernels is None and worth and self._is_float32():
                began = time.perf_counter()
                self._kernels = self._kernels_that_fit()
                if self._kernels is not None:
                    self.version += 1
                    self.preparing_s = time.perf_counter() - began
                    _LOG.info("prepared the weights for %s in %.2f s", self.precision, self.preparing_s)

    def _is_float32(self) -> bool:
        """Whether the weights can be prepared. Others stay as they are, with a warning where another precision is asked for."""
        others = {str(p.dtype) for p in self.bilm.parameters()} - {"torch.float32"}
        if others and self.precision != "float32":
            warnings.warn(f"weights are {', '.join(sorted(others))}: computing so, and not in {self.precision}", stacklevel=4)
        return not others

    def word_vectors(self, chars_UW: Tensor) -> Tensor:
        """Give the vectors x_UP of distinct words.

        Raises:
            MemoryError: There is too little for it.
        """
        self._check_room(0)
        kernels = self._kernels
        with torch.no_grad(), self._own_types():
            x_UP: Tensor = (self.bilm.words if kernels is None else kernels.words)(chars_UW)
        return x_UP

    def layers(self, batch: WordBatch) -> tuple[Tensor, BiLMState]:
        """Compute all layers of a batch: `BiLM.forward` without a state and without gradients."""
        self.expect(int(batch.lengths_B.sum()))
        device = self.bilm.device
        x_UP = self.word_vectors(torch.from_numpy(batch.chars_UW).to(device))
        x_BTP = x_UP[torch.from_numpy(batch.index_BT).to(device)]
        return self.layers_of(x_BTP, torch.from_numpy(batch.lengths_B), words_BT=batch.index_BT)

    def _own_types(self) -> torch.autocast:
        """Let no autocast of the caller change what is computed here: kernels have their precision, and threads of their own."""
        return torch.autocast(self.bilm.device.type, enabled=False)

    @torch.no_grad()
    def layers_of(
        self, x_BTP: Tensor, lengths_B: Tensor, state: BiLMState | None = None, words_BT: WordNumbers | None = None
    ) -> tuple[Tensor, BiLMState]:
        """Compute all layers from word vectors: `BiLM.layers_of`, without gradients.

        Args:
            x_BTP: The word vectors.
            lengths_B: Tokens of each row; best left on the CPU.
            state: Before the rows; None for zeros.
            words_BT: The number of each token's word: what depends on the word alone is then computed once. None: unknown.

        Returns:
            The layers (L, B, T, D), the word vectors first, and the state after each row.

        Raises:
            MemoryError: There is too little for them.
        """
        gates = 0 if words_BT is None else 16 * self.bilm.config.cell_dim * words_BT.size
        self._check_room(x_BTP.nbytes, 2 * min(gates, WORDS_BYTES))
        kernels, lengths_here_B = self._kernels, lengths_B.cpu().numpy()
        lengths_B = lengths_B.to(x_BTP.device)
        with self._own_types():
            if kernels is None:
                return self.bilm.layers_of(x_BTP, lengths_B, state)
            x_BTP = x_BTP * (torch.arange(x_BTP.shape[1], device=x_BTP.device) < lengths_B[:, None]).unsqueeze(-1)
            words_BT = words_BT if x_BTP.device.type == "cpu" else None
            if not self.bilm.config.bidirectional:
                words_1TB = None if words_BT is None else [words_BT.T]
                ((outputs, after),) = self._run(kernels, [x_BTP], lengths_here_B, [state and state.forward], words_1TB)
                return torch.stack([x_BTP, *outputs]), BiLMState(after)
            turned_N = _turned(lengths_B, x_BTP.shape[1])
            words_STB = None
            if words_BT is not None:
                words_STB = [words_BT.T, words_BT.reshape(-1)[turned_N.numpy()].reshape(words_BT.shape).T]
            states = [state and state.forward, state and state.backward]
            forward, backward = self._run(kernels, [x_BTP, _take_rows(x_BTP, turned_N)], lengths_here_B, states, words_STB)
            layers_LBTD = x_BTP.new_empty(len(kernels.layers) + 1, *x_BTP.shape[:2], 2 * x_BTP.shape[2])
            halves = zip([x_BTP, *forward[0]], [x_BTP, *(_take_rows(y_BTP, turned_N) for y_BTP in backward[0])], strict=True)
            for layer_BTD, pair_BTP in zip(layers_LBTD, halves, strict=True):
                torch.cat(pair_BTP, -1, out=layer_BTD)
            return layers_LBTD, BiLMState(forward[1], backward[1])

    @torch.no_grad()
    def stacks(
        self, x_SBTP: Sequence[Tensor], states: Sequence[StackState | None] | None = None
    ) -> list[tuple[list[Tensor], StackState]]:
        """Run all directions over whole rows of their own: each its `LstmStack`, without gradients.

        Args:
            x_SBTP: The word vectors of the forward and (if there is one) of the backward direction, each in its reading order.
            states: The states before; None for zeros.

        Returns:
            For each direction the outputs of its layers, and its states after the rows' last tokens.

        Raises:
            MemoryError: There is too little for them.
        """
        self._check_room(sum(x_BTP.nbytes for x_BTP in x_SBTP))
        kernels, states = self._kernels, states or [None] * len(x_SBTP)
        with self._own_types():
            if kernels is not None:
                return self._run(kernels, x_SBTP, None, states)
            given = zip(self.bilm.stacks, x_SBTP, states, strict=True)
            return [stack(x_BTP, None, state) for stack, x_BTP, state in given]

    def _run(
        self,
        kernels: Kernels,
        x_SBTP: Sequence[Tensor],
        lengths_B: Lengths | None,
        states: Sequence[StackState | None],
        words_STB: Sequence[WordNumbers] | None = None,
    ) -> list[tuple[list[Tensor], StackState]]:
        """Run the layers of all directions."""
        x_STBP = [x_BTP.transpose(0, 1) for x_BTP in x_SBTP]
        outputs: list[list[Tensor]] = [[] for _ in x_STBP]
        after: list[list[LstmState]] = [[] for _ in x_STBP]
        for number, kernel in enumerate(kernels.layers):
            before = [None if state is None else state[number] for state in states]
            words = words_STB if number == 0 else None  # further layers read what depends on the words around too
            for direction, (y_TBP, state) in enumerate(kernel.run(x_STBP, lengths_B, before, words)):
                y_TBP = y_TBP + x_STBP[direction] if self.bilm.config.skip_connections and number > 0 else y_TBP
                x_STBP[direction] = y_TBP
                outputs[direction].append(y_TBP.transpose(0, 1))
                after[direction].append(state)
        return [(found, tuple(kept)) for found, kept in zip(outputs, after, strict=True)]

    def _check_room(self, size: int, more: int = 0) -> None:
        """Refuse what would not fit in memory; `size`: of the word vectors, which each layer has some more times."""
        if self.bilm.device.type == "cpu":
            check_room((4 + 5 * self.bilm.config.layers) * size + more)  # measured, for one layer to four

    def _kernels_that_fit(self) -> Kernels | None:
        """Prepare the weights; None where the biLM computes by itself, for want of memory too."""
        try:
            if self.bilm.device.type == "cpu":  # float32 is kept in two forms, in part
                check_room((2 if self.precision == "float32" else 1) * sum(p.nbytes for p in self.bilm.parameters()))
            return self._make_kernels()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if self.precision != "float32":
                raise MemoryError(f"no room for {self.precision} weights; free some, or take float32 ({error})") from error
        self._too_large = True
        warnings.warn("out of memory: going on without prepared weights, which is slower", stacklevel=3)
        return None

    def _make_kernels(self) -> Kernels | None:
        """Prepare the weights; None where the biLM computes by itself."""
        if self._prepare is not None:
            return self._prepare(self.bilm)
        device = self.bilm.device.type
        if device == "cpu":
            return cpu_kernels(self.bilm, self.precision)
        if device == "cuda":
            return gpu_kernels(self.bilm, self.precision)
        if self.precision != "float32":
            raise ValueError(f'precision={self.precision!r} is for the CPU and CUDA; on {device} say "float32"')
        return None


def _identity(bilm: BiLM) -> list[Any]:
    """Give what is another after a change of a network's weights.

    PyTorch counts most changes, but neither those of fused optimizers nor those by way of `.data`: so some numbers of each
    tensor are looked at too.
    """
    tensors = [parameter.detach() for parameter in bilm.parameters()]
    known: list[Any] = [
        (tensor.data_ptr(), None if tensor.is_inference() else tensor._version, tensor.device, tensor.dtype) for tensor in tensors
    ]
    if bilm.device.type != "meta":
        looked_at = [tensor.flatten()[:: max(1, tensor.numel() // LOOKED_AT)] for tensor in tensors]
        known += [torch.cat(looked_at).cpu().double().numpy().tobytes()]
    if bilm.device.type == "cuda":
        known += [tf32_asked_for()]  # prepared products keep to it
    return known


def _turned(lengths_B: Tensor, steps: int) -> Tensor:
    """Which of all B · T tokens, row after row, stands where when each row's tokens are turned round."""
    positions_T = torch.arange(steps, device=lengths_B.device)
    turned_BT = lengths_B[:, None] - 1 - positions_T
    places_BT = torch.where(turned_BT >= 0, turned_BT, positions_T)
    return (places_BT + steps * torch.arange(len(lengths_B), device=lengths_B.device)[:, None]).flatten()


def _take_rows(x_BTP: Tensor, tokens_N: Tensor) -> Tensor:
    """Give the vectors of these tokens, in the shape of `x_BTP`."""
    return x_BTP.reshape(-1, x_BTP.shape[2]).index_select(0, tokens_N).view(x_BTP.shape)
