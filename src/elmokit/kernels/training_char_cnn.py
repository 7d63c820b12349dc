"""The convolutions of `model/char_cnn.py` for training: every word's own windows, and gradients to the winning ones alone.

    y_{u,p} = x_{u,p} K               all filters in one product; windows begin at a word's characters, and one at its padding
    c_u     = max over p of y_{u,p}   the gradient of c_u goes to the window that won
    dK = Σ x_{u,p}ᵀ dy_{u,p}          dx_{u,p} = dy_{u,p} Kᵀ

Words of about the same length go together, so that a word of n characters costs n + 1 windows, whatever room the model has
for longer words; padding windows are all the same, so that one is enough. The few words that fill the room go through the
network itself.
Shapes: U words, W characters, N windows of a word, E character dimension, K = E · widest filter, F filters of all widths.
"""

from bisect import bisect_right
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elmokit.kernels.word_weights import filter_columns, window_blocks
from elmokit.model.char_cnn import CharCnn, Convolution

WINDOWS_AT_ONCE = 2**9
"""Windows that are multiplied together: 4 MB of results at the published sizes."""
WINDOWS_ON_A_GPU = 2**16
"""256 MB of results in bfloat16: what counts there is that its launches are few."""


def training_convolution(product_dtype: torch.dtype = torch.float32) -> Convolution:
    """Give what `CharCnn.features` gives, with a gradient of its own.

    Args:
        product_dtype: Of the matrix products: float32 or bfloat16.
    """

    def convolve(network: CharCnn, chars_UW: Tensor) -> Tensor:
        widest = max(width for width, _ in network.config.filters)
        windows_U, order_U = torch.sort((chars_UW != network.config.padding).sum(1) + 1)
        windows = windows_U.tolist()
        # A long word's last windows end where the room for characters does, which differs from filter to filter.
        whole = bisect_right(windows, chars_UW.shape[1] - widest + 1)
        filters_KF, bias_F = filter_columns(network, widest)
        own_UW = chars_UW[order_U[:whole]].long()
        arguments = (network.embedding.weight, filters_KF, own_UW, windows[:whole], product_dtype)
        c_UF = _Maxima.apply(*arguments)  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        x_UF = torch.relu(c_UF + bias_F) if network.config.activation == "relu" else torch.tanh(c_UF + bias_F)
        if whole < len(windows):
            x_UF = torch.cat([x_UF, network.features(chars_UW[order_U[whole:]])])
        given_U = torch.empty_like(order_U).scatter_(0, order_U, torch.arange(len(order_U), device=order_U.device))
        return x_UF[given_U]

    return convolve


class _Maxima(torch.autograd.Function):
    """The largest product of each word and filter, with the gradient above."""

    @staticmethod
    def forward(
        context: Any, table_CE: Tensor, filters_KF: Tensor, chars_UW: Tensor, windows_U: list[int], dtype: torch.dtype
    ) -> Tensor:
        """Multiply block by block; keep which window won."""
        table, filters = table_CE.to(dtype), filters_KF.to(dtype)
        best_UF = table_CE.new_empty(len(chars_UW), filters.shape[1])
        winner_UF = torch.empty(best_UF.shape, dtype=torch.long, device=best_UF.device)
        for part in window_blocks(windows_U, _at_once(table.device)):
            x_UNK = _windows(table, chars_UW[part], windows_U[part.stop - 1], len(filters))
            best, winner_UF[part] = (x_UNK @ filters).max(1)
            best_UF[part] = best
        context.save_for_backward(table, filters, chars_UW, winner_UF)
        context.windows_U, context.wide = windows_U, table_CE.dtype
        return best_UF

    @staticmethod
    @once_differentiable
    def backward(context: Any, d_UF: Tensor) -> tuple[Tensor | None, ...]:
        """Send each gradient to the window that won, block by block."""
        table, filters, chars_UW, winner_UF = context.saved_tensors
        d_UF, back_FK = d_UF.to(table.dtype), filters.T.contiguous()
        d_filters = filters.new_zeros(filters.shape, dtype=context.wide)
        d_table = table.new_zeros(table.shape, dtype=context.wide)
        for part in window_blocks(context.windows_U, _at_once(table.device)):
            windows = context.windows_U[part.stop - 1]
            x_UNK = _windows(table, chars_UW[part], windows, len(filters))
            dy_UNF = d_UF.new_zeros(*x_UNK.shape[:2], filters.shape[1])
            dy_UNF.scatter_(1, winner_UF[part].unsqueeze(1), d_UF[part].unsqueeze(1))
            dy_NF = dy_UNF.flatten(0, 1)
            d_filters += x_UNK.flatten(0, 1).T @ dy_NF
            _add_to_characters(d_table, chars_UW[part], (dy_NF @ back_FK).view_as(x_UNK))
        return d_table, d_filters, None, None, None


def _at_once(device: torch.device) -> int:
    """How many windows are multiplied together."""
    return WINDOWS_AT_ONCE if device.type == "cpu" else WINDOWS_ON_A_GPU


def _windows(table_CE: Tensor, chars_UW: Tensor, windows: int, inputs: int) -> Tensor:
    """The windows of some words, x_UNK: each the vectors of its characters, one after the other."""
    e = table_CE.shape[1]
    e_UWE = table_CE[chars_UW[:, : windows + inputs // e - 1]]
    words, width, _ = e_UWE.shape
    return e_UWE.as_strided((words, windows, inputs), (width * e, e, 1)).contiguous()


def _add_to_characters(d_table_CE: Tensor, chars_UW: Tensor, dx_UNK: Tensor) -> None:
    """Add the windows' gradients to those of their characters' vectors."""
    words, windows, inputs = dx_UNK.shape
    e = d_table_CE.shape[1]
    d_UWE = d_table_CE.new_zeros(words, windows + inputs // e - 1, e)
    for place, d_UNE in enumerate(torch.split(dx_UNK, e, 2)):
        d_UWE[:, place : place + windows] += d_UNE
    characters, d_NE = chars_UW[:, : d_UWE.shape[1]].flatten(), d_UWE.flatten(0, 1)
    if d_NE.is_cuda:  # where `index_add_` adds in another order each time
        d_table_CE += torch.ops.aten.embedding_dense_backward(d_NE, characters, len(d_table_CE), -1, False)
    else:
        d_table_CE.index_add_(0, characters, d_NE)
