"""A word's vector from a table, as bilm-tf's models that read whole words have it.

    x = E[word]                          or, where the table is of another width than the LSTM,   x = E[word] · W + b

U words, V words of the table, P output.
"""

from torch import Tensor, nn

from elmokit.config import WordTableConfig


class WordEmbedding(nn.Module):
    """Word ids → word vectors.

    Args:
        config: Sizes.
        output_dim: P, the width of the LSTM's input; None leaves the projection to a larger network.
    """

    def __init__(self, config: WordTableConfig, output_dim: int | None) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.words, config.dim)
        self.projection = nn.Linear(config.dim, output_dim) if config.projection and output_dim else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial values: E uniform ±1, as the reference; the projection N(0, 1/dim), its bias 0."""
        nn.init.uniform_(self.embedding.weight, -1.0, 1.0)
        if isinstance(self.projection, nn.Linear):
            nn.init.normal_(self.projection.weight, std=self.config.dim**-0.5)
            nn.init.zeros_(self.projection.bias)

    def forward(self, ids_U1: Tensor) -> Tensor:
        """Give the vectors x_UP of words with these ids (0 to V - 1)."""
        x_UP: Tensor = self.projection(self.embedding(ids_U1.squeeze(1).long()))
        return x_UP
