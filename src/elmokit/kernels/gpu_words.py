"""The character network of `model/char_cnn.py` on a GPU: all filters in one product, and nothing that waits for the device.

All filters are columns of one matrix over the window of the widest (a narrower filter's further rows are 0), and windows
begin at every place of a word, those of the widest filter running over its end into zeros. A filter's maximum is taken over
the windows in which it fits. Unlike on a CPU short words are not told apart: finding out which they are would stop the
device for longer than their padding takes. The same numbers as the network's, to rounding.
Shapes: U words, W characters, E character dimension, K = E · widest filter, F filters of all widths, P output.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from elmokit.kernels.gpu_lstm import GpuPrecision
from elmokit.kernels.tf32 import float32_products
from elmokit.model.char_cnn import CharCnn
from elmokit.model.highway import Highway

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
        self.widest = max(width for width, _ in self.config.filters)
        convolutions = [module for module in network.convolutions if isinstance(module, nn.Conv1d)]
        with torch.no_grad():
            self.table_CE = network.embedding.weight.detach().to(self.dtype)
            padded_FEW = [pad(module.weight, (0, self.widest - module.weight.shape[2])) for module in convolutions]
            # A window's characters follow each other, E numbers each.
            self.filters_FK = torch.cat([w_FEW.transpose(1, 2).flatten(1) for w_FEW in padded_FEW]).to(self.dtype)
            self.bias_F = torch.cat([module.bias.detach() for module in convolutions if module.bias is not None])
            self.highways = [self._joined(highway) for highway in network.highways if isinstance(highway, Highway)]
            last = network.projection
            self.projection = (last.weight.detach().to(self.dtype), last.bias.detach()) if isinstance(last, nn.Linear) else None

    @torch.no_grad()
    def __call__(self, chars_UW: Tensor) -> Tensor:
        """Give the vectors x_UP, float32, of words with character ids `chars_UW`, on the network's device."""
        plain = self.table_CE.device.type == "cpu" or self.dtype != torch.float32
        with nullcontext() if plain else float32_products(tf32=self.precision == "tf32"):
            return torch.cat([self._finish(self._features(part_UW)) for part_UW in torch.split(chars_UW, WORDS_AT_ONCE)])

    def _joined(self, highway: Highway) -> tuple[Tensor, Tensor]:
        """Make one product of a highway's two."""
        parts = (highway.transform, highway.carry)
        return torch.cat([part.weight.detach() for part in parts]).to(self.dtype), torch.cat(
            [part.bias.detach() for part in parts]
        )

    def _features(self, chars_UW: Tensor) -> Tensor:
        """Give the filters' maxima, activated."""
        words, places = chars_UW.shape
        e_UWE = pad(self.table_CE[chars_UW.long()], (0, 0, 0, self.widest - 1))
        e = e_UWE.shape[2]
        windows_UWK = e_UWE.as_strided((words, places, self.widest * e), (e_UWE.stride(0), e, 1))
        products_UWF = linear(windows_UWK.flatten(0, 1), self.filters_FK).view(words, places, len(self.filters_FK))
        of_width = torch.split(products_UWF, [filters for _, filters in self.config.filters], 2)
        maxima = [x_UWN[:, : places - width + 1].amax(1) for x_UWN, (width, _) in zip(of_width, self.config.filters, strict=True)]
        maxima_UF = torch.cat(maxima, 1) + self.bias_F  # float32 from here on
        return maxima_UF.relu_() if self.config.activation == "relu" else maxima_UF.tanh_()

    def _finish(self, x_UF: Tensor) -> Tensor:
        """Run the highways and the projection."""
        for weight, bias in self.highways:
            transformed_UF, gate_UF = (linear(x_UF.to(self.dtype), weight) + bias).chunk(2, 1)
            x_UF = torch.lerp(x_UF, transformed_UF.relu_(), gate_UF.sigmoid_())
        return x_UF if self.projection is None else linear(x_UF.to(self.dtype), self.projection[0]) + self.projection[1]
