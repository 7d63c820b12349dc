"""The character network of `model/char_cnn.py` with prepared weights, for many words.

Words of about the same length go together, so that few windows are of padding alone: a word of n characters has n with
something in them and one of padding, whatever room the model has for longer words. All filters are columns of one matrix
over the window of the widest, so that a block of words is one product, one maximum, and one product for each highway. The
same numbers as the network's, to rounding.
Shapes: U words, W characters, N windows of a word, E character dimension, K = E · widest filter, F filters of all widths.
"""

from bisect import bisect_right
from collections.abc import Callable

import torch
from torch import Tensor

from elmokit.kernels.product import MakeProduct
from elmokit.kernels.word_weights import WordWeights, activate, mix, window_blocks
from elmokit.model.bilm import WordNetwork
from elmokit.model.char_cnn import CharCnn
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
        weights = WordWeights(network)
        self.widest, self.bias_F = weights.widest, weights.bias_F
        self.filters = make(weights.filters_KF, None, float(weights.table_CE.abs().max()))
        self.table_CE = self.filters.prepare(weights.table_CE)  # characters, in the form in which they are multiplied
        self.highways = [make(weight_KM, bias_M, None) for weight_KM, bias_M in weights.highways]
        self.projection = None if weights.projection is None else make(*weights.projection, None)

    def __call__(self, chars_UW: Tensor) -> Tensor:
        """Give the vectors x_UP of words with character ids `chars_UW`; x_UF without a projection."""
        windows_U, order_U = torch.sort((chars_UW != self.network.config.padding).sum(1) + 1)
        x_UF = self._features(chars_UW[order_U], windows_U.tolist())
        sorted_UP = torch.cat([self._finish(x_NF) for x_NF in torch.split(x_UF, WORDS_AT_ONCE)])
        return torch.empty_like(sorted_UP).index_copy_(0, order_U, sorted_UP)

    def _features(self, chars_UW: Tensor, windows_U: list[int]) -> Tensor:
        """Give the filters' maxima, activated, of words that stand shortest first."""
        x_UF = self.bias_F.new_empty(len(chars_UW), len(self.bias_F))
        # A long word's last windows end where the room for characters does, which differs from filter to filter.
        whole = bisect_right(windows_U, chars_UW.shape[1] - self.widest + 1)
        for part in window_blocks(windows_U[:whole], WINDOWS_AT_ONCE):
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
        return activate(products_UNF.amax(1).add_(self.bias_F), self.network.config.activation)

    def _finish(self, x_UF: Tensor) -> Tensor:
        """Run the highways and the projection."""
        for highway in self.highways:
            x_UF = mix(x_UF, highway.times(highway.prepare(x_UF)))
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
