"""Every tensor of a biLM: its name here, its name in the published HDF5 files, and its shape in both.

The tensors are listed one by one, never built, so that sizes read from a damaged file cost no memory.
Shapes: E character dimension, F filters, P width of a direction, H cell, G = 4H gates (columns i, g, f, o).
"""

from collections.abc import Iterator
from typing import NamedTuple

from elmokit.config import BiLMConfig, CharCnnConfig, WordTableConfig

EMBEDDING = "char_embed"
WORD_EMBEDDING = "embedding"
CNN_PROJECTION = "CNN_proj/W_proj"


class TensorLayout(NamedTuple):
    """Where one tensor lives."""

    name: str
    """Its name in `BiLM.state_dict()`."""
    dataset: str
    """Its name in an HDF5 weight file; for what these files never hold, a name of our own."""
    dataset_shape: tuple[int, ...]
    """Its shape there."""
    transposed: bool
    """Whether its axes stand here in the opposite order (linear layers and convolutions)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape here: TensorFlow's convolutions have a height of 1 in front, ours have none."""
        shape = self.dataset_shape[-3:]
        return shape[::-1] if self.transposed else shape


def bilm_layout(config: BiLMConfig) -> Iterator[TensorLayout]:
    """List the tensors of a biLM of this configuration."""
    yield from _word_layout(config)
    for number, direction in enumerate(("forward", "backward")[: config.directions]):
        for layer in range(config.layers):
            yield from _lstm_layout(config, f"{direction}_stack.layers.{layer}", lstm_group(number, layer))


def lstm_group(direction: int, layer: int) -> str:
    """Name the HDF5 group of one layer of one direction (0 forward, 1 backward)."""
    return f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"


def _word_layout(config: BiLMConfig) -> Iterator[TensorLayout]:
    """What makes a word's vector: the character CNN, a table of words, or both joined by one projection."""
    cnn, table = config.char_cnn, config.word_table
    both = cnn is not None and table is not None
    if table is not None:
        yield _table_layout(table, "words.table" if both else "words")
    if cnn is not None:
        yield from _cnn_layout(cnn, "words.characters" if both else "words")
    if (cnn is None or cnn.projection) and (table is None or table.projection):
        inputs = (cnn.features if cnn else 0) + (table.dim if table else 0)
        yield TensorLayout("words.projection.weight", CNN_PROJECTION, (inputs, config.output_dim), True)
        yield TensorLayout("words.projection.bias", "CNN_proj/b_proj", (config.output_dim,), False)


def _table_layout(config: WordTableConfig, name: str) -> TensorLayout:
    """The vectors of whole words."""
    return TensorLayout(f"{name}.embedding.weight", WORD_EMBEDDING, (config.words, config.dim), False)


def _cnn_layout(config: CharCnnConfig, name: str) -> Iterator[TensorLayout]:
    """The character CNN without its projection."""
    features, embedding = config.features, config.embedding_dim
    yield TensorLayout(f"{name}.embedding.weight", EMBEDDING, (config.characters, embedding), False)
    for i, (width, n) in enumerate(config.filters):
        yield TensorLayout(f"{name}.convolutions.{i}.weight", f"CNN/W_cnn_{i}", (1, width, embedding, n), True)
        yield TensorLayout(f"{name}.convolutions.{i}.bias", f"CNN/b_cnn_{i}", (n,), False)
    for k in range(config.highways):
        for gate in ("carry", "transform"):
            yield TensorLayout(f"{name}.highways.{k}.{gate}.weight", f"CNN_high_{k}/W_{gate}", (features, features), True)
            yield TensorLayout(f"{name}.highways.{k}.{gate}.bias", f"CNN_high_{k}/b_{gate}", (features,), False)


def _lstm_layout(config: BiLMConfig, name: str, group: str) -> Iterator[TensorLayout]:
    """One layer of one direction."""
    width, gates = config.output_dim, 4 * config.cell_dim
    yield TensorLayout(f"{name}.kernel", f"{group}/W_0", (2 * width, gates), False)
    yield TensorLayout(f"{name}.bias", f"{group}/B", (gates,), False)
    if config.projection_dim:
        yield TensorLayout(f"{name}.projection", f"{group}/W_P_0", (config.cell_dim, width), False)
