"""The character network of `model/char_cnn.py` on a GPU: all filters in one product, and nothing that waits for the device.

All filters are columns of one matrix over the window of the widest, and windows begin at every place of a word, those of the
widest filter running over its end into zeros. A filter's maximum is taken over
the windows in which it fits. Unlike on a CPU short words are not told apart: finding out which they are would stop the
device for longer than their padding takes. The same numbers as the network's, to rounding.
Shapes: U words, W characters, E character dimension, K = E · widest filter, F filters of all widths, P output.
"""

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.functional import pad

from elmokit.kernels.gpu_lstm import GpuPrecision
from elmokit.kernels.tf32 import float32_products
from elmokit.kernels.word_weights import WordWeights, activate, mix
from elmokit.model.char_cnn import CharCnn

WORDS_AT_ONCE = 1024
"""Words that go through the network together: the published filters give 200 kB in bfloat16 for each."""


class GpuCharCnn:
    """`CharCnn` on CUDA, for inference; on a CPU it does the same, slowly.

    Args:
        network: Its weights, float32; they stay as they are.
        precision: Of the products; see `GpuLstm`.
    """

    def __init__(self, network: CharCnn, precision: GpuPrecision = "float32") -> None:
        self.config = network.config
        self.precision = precision
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        weights = WordWeights(network)
        self.widest, self.bias_F = weights.widest, weights.bias_F
        self.table_CE = weights.table_CE.to(self.dtype)
        self.filters_KF = weights.filters_KF.to(self.dtype)
        self.highways = [(weight_KM.to(self.dtype), bias_M) for weight_KM, bias_M in weights.highways]
        last = weights.projection
        self.projection = None if last is None else (last[0].to(self.dtype), last[1])

    @torch.no_grad()
    def __call__(self, chars_UW: Tensor) -> Tensor:
        """Give the vectors x_UP, float32, of words with character ids `chars_UW`, on the network's device."""
        plain = self.table_CE.device.type == "cpu" or self.dtype != torch.float32
        with nullcontext() if plain else float32_products(tf32=self.precision == "tf32"):
            return torch.cat([self._finish(self._features(part_UW)) for part_UW in torch.split(chars_UW, WORDS_AT_ONCE)])

    def _features(self, chars_UW: Tensor) -> Tensor:
        """Give the filters' maxima, activated."""
        words, places = chars_UW.shape
        e_UWE = pad(self.table_CE[chars_UW.long()], (0, 0, 0, self.widest - 1))
        e = e_UWE.shape[2]
        windows_UWK = e_UWE.as_strided((words, places, self.widest * e), (e_UWE.stride(0), e, 1))
        products_UWF = (windows_UWK.flatten(0, 1) @ self.filters_KF).view(words, places, len(self.bias_F))
        of_width = torch.split(products_UWF, [filters for _, filters in self.config.filters], 2)
        maxima = [x_UWN[:, : places - width + 1].amax(1) for x_UWN, (width, _) in zip(of_width, self.config.filters, strict=True)]
        return activate(torch.cat(maxima, 1) + self.bias_F, self.config.activation)  # float32 from here on

    def _finish(self, x_UF: Tensor) -> Tensor:
        """Run the highways and the projection."""
        for weight_KM, bias_M in self.highways:
            x_UF = mix(x_UF, x_UF.to(self.dtype) @ weight_KM + bias_M)
        return x_UF if self.projection is None else x_UF.to(self.dtype) @ self.projection[0] + self.projection[1]
