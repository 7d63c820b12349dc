"""A word's vector from its characters (section 3.2 of the paper; Kim et al. 2016).

    e_w = E[character w]
    c_n = max over positions p of  Σ_k e_{p+k} · K_{k,n} + b_n          for each filter n, over its width k
    x   = highways(activation(c)) · W_proj + b_proj

The maximum runs over padding too, and it comes before the activation.
Shapes: U words, W characters, E character dimension, F filters of all widths, P output.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from elmokit.config import CharCnnConfig
from elmokit.model.highway import Highway


class CharCnn(nn.Module):
    """Characters → word vectors.

    Args:
        config: Sizes.
        output_dim: P, the width of the LSTM's input; None leaves the projection to a larger network.
        convolution: What convolves: `CharCnn.features`, the default, or a faster kernel with the same numbers.
    """

    def __init__(self, config: CharCnnConfig, output_dim: int | None, convolution: "Convolution | None" = None) -> None:
        super().__init__()
        self.config = config
        self.convolution = convolution or CharCnn.features
        self.embedding = nn.Embedding(config.characters, config.embedding_dim)
        self.convolutions = nn.ModuleList(nn.Conv1d(config.embedding_dim, n, width) for width, n in config.filters)
        self.highways = nn.ModuleList(Highway(config.features) for _ in range(config.highways))
        self.projection = nn.Linear(config.features, output_dim) if config.projection and output_dim else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the reference's initial values.

        E uniform ±1; convolutions uniform ±0.05 before relu, N(0, 1/(width·E)) before tanh; projection N(0, 1/F);
        biases 0. The highways draw their own.
        """
        nn.init.uniform_(self.embedding.weight, -1.0, 1.0)
        for convolution, (width, _) in zip(self._conv1d(), self.config.filters, strict=True):
            if self.config.activation == "relu":
                nn.init.uniform_(convolution.weight, -0.05, 0.05)
            else:
                nn.init.normal_(convolution.weight, std=(width * self.config.embedding_dim) ** -0.5)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
        if isinstance(self.projection, nn.Linear):
            nn.init.normal_(self.projection.weight, std=self.config.features**-0.5)
            nn.init.zeros_(self.projection.bias)

    def forward(self, chars_UW: Tensor) -> Tensor:
        """Give the vectors x_UP of words with character ids `chars_UW`."""
        x_UF = self.convolution(self, chars_UW)
        for highway in self.highways:
            x_UF = highway(x_UF)
        x_UP: Tensor = self.projection(x_UF)
        return x_UP

    def features(self, chars_UW: Tensor) -> Tensor:
        """Give the activated maxima x_UF, which the highways read."""
        x_UEW = self.embedding(self._without_idle_padding(chars_UW)).transpose(1, 2)
        activation = torch.relu if self.config.activation == "relu" else torch.tanh
        return torch.cat([activation(convolution(x_UEW).amax(-1)) for convolution in self._conv1d()], -1)

    def _without_idle_padding(self, chars_UW: Tensor) -> Tensor:
        """Drop columns past the longest word, but one window of padding for the widest filter.

        Exact: all windows that lie in the padding are equal, so the maximum needs just one of them. What is kept is a
        multiple of 8 columns, since PyTorch plans a convolution anew for each size that it meets.
        """
        if not len(chars_UW):
            return chars_UW.long()
        longest = int((chars_UW != self.config.padding).sum(1).max())
        kept = longest + max(width for width, _ in self.config.filters)
        return chars_UW[:, : -(-kept // 8) * 8].long()

    def _conv1d(self) -> list[nn.Conv1d]:
        """The convolutions with their type, which a ModuleList forgets."""
        return [module for module in self.convolutions if isinstance(module, nn.Conv1d)]


Convolution = Callable[[CharCnn, Tensor], Tensor]
"""Gives the activated maxima x_UF of words with character ids chars_UW, as `CharCnn.features` does."""
