"""The character network of `model/char_cnn.py` with prepared weights, for many words.

Words of about the same length go together, so that few windows are of padding alone: a word of n characters has n with
something in them and one of padding, whatever room the model has for longer words. All filters are
columns of one matrix over the window of the widest (a narrower filter's further rows are 0), so that a block of words is
one product, one maximum, and one product for each highway. The same numbers as the network's, to rounding.
Shapes: U words, W characters, N windows of a word, E character dimension, K = E · widest filter, F filters of all widths.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from elmokit.kernels.products import MakeProduct, Product
from elmokit.model.bilm import WordNetwork
from elmokit.model.char_cnn import CharCnn
from elmokit.model.highway import Highway
from elmokit.model.word_and_characters import WordAndCharacters

WORDS_AT_ONCE = 256
"""Words that go through the highways together."""
WINDOWS_AT_ONCE = 256
"""Windows that are multiplied together: 2 MB of results at the published sizes."""


class FastCharCnn:
    """`CharCnn` on the CPU, for inference.

    Args:
        network: Its weights, float32.
        make: Prepares a matrix.
    """

    def __init__(self, network: CharCnn, make: MakeProduct) -> None:
        self.network = network
        self.widest = max(width for width, _ in network.config.filters)
        table_CE = network.embedding.weight.detach()
        convolutions = [module for module in network.convolutions if isinstance(module, nn.Conv1d)]
        self.filters = make(_joined_filters(convolutions, self.widest), None, float(table_CE.abs().max()))
        self.table_CE = self.filters.prepare(table_CE)  # characters, in the form in which they are multiplied
        self.bias_F = torch.cat([module.bias.detach() for module in convolutions if module.bias is not None])
        self.highways = [_joined(highway, make) for highway in network.highways if isinstance(highway, Highway)]
        linear = network.projection
        self.projection = make(linear.weight.detach().t(), linear.bias.detach(), None) if isinstance(linear, nn.Linear) else None

    def __call__(self, chars_UW: Tensor) -> Tensor:
        """Give the vectors x_UP of words with character ids `chars_UW`; x_UF without a projection."""
        windows_U, order_U = torch.sort((chars_UW != self.network.config.padding).sum(1) + 1)
        x_UF = self._features(chars_UW[order_U], windows_U.tolist())
        sorted_UP = torch.cat([self._finish(x_NF) for x_NF in torch.split(x_UF, WORDS_AT_ONCE)])
        return torch.empty_like(sorted_UP).index_copy_(0, order_U, sorted_UP)

    def _features(self, chars_UW: Tensor, windows_U: list[int]) -> Tensor:
        """Give the filters' maxima, activated, of words that stand shortest first."""
        x_UF = torch.empty(len(chars_UW), len(self.bias_F), dtype=torch.float32)
        # A long word's last windows end where the room for characters does, which differs from filter to filter.
        whole = bisect_right(windows_U, chars_UW.shape[1] - self.widest + 1)
        for part in _blocks(windows_U[:whole]):
            windows = windows_U[part.stop - 1]
            x_UF[part] = self._maxima(chars_UW[part, : windows + self.widest - 1], windows)
        if whole < len(chars_UW):
            x_UF[whole:] = self.network.features(chars_UW[whole:])
        return x_UF

    def _maxima(self, chars_UW: Tensor, windows: int) -> Tensor:
        """Convolve words of which so many windows matter."""
        e_UWE = self.table_CE[chars_UW.long()]
        words, width, e = e_UWE.shape
        windows_UNK = e_UWE.as_strided((words, windows, self.widest * e), (width * e, e, 1))
        products_UNF = self.filters.times(windows_UNK.reshape(words * windows, -1)).view(words, windows, -1)
        maxima_UF = products_UNF.amax(1).add_(self.bias_F)
        return maxima_UF.relu_() if self.network.config.activation == "relu" else maxima_UF.tanh_()

    def _finish(self, x_UF: Tensor) -> Tensor:
        """Run the highways and the projection."""
        for highway in self.highways:
            transformed_UF, gate_UF = highway.times(highway.prepare(x_UF)).chunk(2, 1)
            x_UF = torch.lerp(x_UF, transformed_UF.relu_(), gate_UF.sigmoid_())
        return x_UF if self.projection is None else self.projection.times(self.projection.prepare(x_UF))


class FastWordAndCharacters:
    """`WordAndCharacters` on the CPU, for inference.

    Args:
        network: Its weights, float32.
        make: Prepares a matrix.
    """

    def __init__(self, network: WordAndCharacters, make: MakeProduct) -> None:
        self.table, self.characters = network.table, FastCharCnn(network.characters, make)
        self.projection = make(network.projection.weight.detach().t(), network.projection.bias.detach(), None)

    def __call__(self, ids_UW: Tensor) -> Tensor:
        """Give the vectors x_UP of words: (U, 1 + W), the word's id first."""
        x_UK = torch.cat([self.table(ids_UW[:, :1]), self.characters(ids_UW[:, 1:])], -1)
        return self.projection.times(self.projection.prepare(x_UK))


def fast_words(network: WordNetwork, make: MakeProduct) -> Callable[[Tensor], Tensor]:
    """Give what runs a word network on the CPU: the network itself where there is nothing to multiply but a projection.

    Args:
        network: Its weights, float32.
        make: Prepares a matrix.
    """
    if isinstance(network, CharCnn):
        return FastCharCnn(network, make)
    return FastWordAndCharacters(network, make) if isinstance(network, WordAndCharacters) else network


def _blocks(windows_U: list[int]) -> Iterator[slice]:
    """Cut words that stand shortest first: each block's windows, if all had as many as its last word, are multiplied together."""
    start = 0
    for word, windows in enumerate(windows_U):
        if word > start and (word + 1 - start) * windows > WINDOWS_AT_ONCE:
            yield slice(start, word)
            start = word
    if start < len(windows_U):
        yield slice(start, len(windows_U))


def _joined_filters(convolutions: list[nn.Conv1d], widest: int) -> Tensor:
    """Make one matrix (K, F) of all filters."""
    blocks = []
    for convolution in convolutions:
        w_FEW = convolution.weight.detach()
        padded_FEW = torch.nn.functional.pad(w_FEW, (0, widest - w_FEW.shape[2]))
        blocks.append(padded_FEW.permute(2, 1, 0).flatten(0, 1))  # a window's characters follow each other, E numbers each
    return torch.cat(blocks, 1)


def _joined(highway: Highway, make: MakeProduct) -> Product:
    """Make one product (F, 2F) of a highway's two."""
    parts = (highway.transform, highway.carry)
    weight_KM = torch.cat([part.weight.detach() for part in parts]).t()
    return make(weight_KM, torch.cat([part.bias.detach() for part in parts]), None)
