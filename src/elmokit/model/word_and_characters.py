"""A word's vector from a table and from its characters together (ELMoForManyLangs; Che et al. 2018).

    x = [E[word] ; CNN(characters)] · W + b

The first column of a word's row is its id in the table, the others are its characters.
Shapes: U words, W characters, D numbers of the table, F filters, P output.
"""

import torch
from torch import Tensor, nn

from elmokit.config import CharCnnConfig, WordTableConfig
from elmokit.model.char_cnn import CharCnn, Convolution
from elmokit.model.word_embedding import WordEmbedding


class WordAndCharacters(nn.Module):
    """Word ids and characters → word vectors.

    Args:
        table: Sizes of the table.
        char_cnn: Sizes of the network for characters.
        output_dim: P, the width of the LSTM's input.
        convolution: What convolves characters; see `CharCnn`.
    """

    def __init__(
        self, table: WordTableConfig, char_cnn: CharCnnConfig, output_dim: int, convolution: Convolution | None = None
    ) -> None:
        super().__init__()
        self.table = WordEmbedding(table, None)
        self.characters = CharCnn(char_cnn, None, convolution)
        self.projection = nn.Linear(table.dim + char_cnn.features, output_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projection from N(0, 1 / its inputs), its bias 0; the parts draw their own."""
        nn.init.normal_(self.projection.weight, std=self.projection.in_features**-0.5)
        nn.init.zeros_(self.projection.bias)

    def forward(self, ids_UW: Tensor) -> Tensor:
        """Give the vectors x_UP of words: (U, 1 + W), the word's id first."""
        x_UD, x_UF = self.table(ids_UW[:, :1]), self.characters(ids_UW[:, 1:])
        x_UP: Tensor = self.projection(torch.cat([x_UD, x_UF], -1))
        return x_UP
