"""A model in memory, whatever the format it came from."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elmokit.config import ElmoConfig
from elmokit.model.bilm import BiLM
from elmokit.model.without_values import without_values
from elmokit.text.readers import WordReader, word_reader
from elmokit.text.tables import CharacterTable, WordTable
from elmokit.text.vocabulary import Vocabulary

TABLE = "words.embedding.weight"
"""The name of the table of words in a biLM that reads nothing else."""


class LayerMix(NamedTuple):
    """A task's mix of the layers, γ · Σ_j softmax(w)_j · h_j, that came with a model."""

    weights: tuple[float, ...]
    """w, before the softmax: one number for each of the L + 1 layers."""
    gamma: float
    """γ."""
    layer_norm: bool = False
    """Whether each layer is normalized first, as `ScalarMix` does."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a model folder holds."""

    config: ElmoConfig
    """What the model is."""
    bilm: dict[str, Tensor]
    """The biLM's tensors (float32), named as in `BiLM.state_dict()`."""
    head: dict[str, Tensor] | None = None
    """The language model's softmax: "weight" (V, P) and "bias" (V), if it is there. If it is tied, "weight" has the same
    numbers as the table in which the biLM looks words up (mostly it is that tensor)."""
    vocabulary: Vocabulary | None = None
    """The V words that the softmax predicts, if known."""
    input_words: WordTable | None = None
    """The words that the biLM looks up, if it reads whole words."""
    input_characters: CharacterTable | None = None
    """The code points that the biLM knows, if it reads these and not bytes."""
    layer_means_LD: Tensor | None = None
    """The mean vector of each of the L + 1 layers, if it was measured."""
    mixes: tuple[LayerMix, ...] = ()
    """Mixes of the layers that some task learned; empty for most models."""
    card: str | None = None
    """The model card, in Markdown."""
    origin: str
    """What it was read from, for messages and for `elmo info`."""

    @property
    def reader(self) -> WordReader:
        """How the model reads words.

        Raises:
            ValueError: A table that it needs is not there.
        """
        try:
            return word_reader(self.config.bilm, self.input_words, self.input_characters)
        except ValueError as error:
            raise ValueError(f"{self.origin}: {error}") from error

    @property
    def tied(self) -> bool:
        """Whether the softmax and the biLM's table of words are one."""
        table = self.bilm.get(TABLE) if self.config.bilm.char_cnn is None else None
        weight = None if self.head is None else self.head["weight"]
        return table is not None and weight is not None and torch.equal(table.cpu(), weight.cpu())

    def refuse_one_direction(self, layout: str) -> None:
        """Refuse to write a model that reads forward alone into a layout that always has both directions.

        Args:
            layout: Its name, as users know it.

        Raises:
            ValueError: It is such a model.
        """
        if not self.config.bilm.bidirectional:
            raise ValueError(f"{self.origin}: this model reads forward alone, and {layout} always holds both directions")

    def warn_of_losses(self, target: object, layout: str) -> None:
        """Warn of what is lost where a layout holds the network alone, and the tables that it reads with.

        Args:
            target: What was written.
            layout: Its name, as users know it.
        """
        beside = {
            "the tokenizer and normalization": self.config.text,
            "the languages": self.config.languages,
            "the licence": self.config.license,
            "the language model's head": self.head,
            "the vocabulary": self.vocabulary and self.vocabulary.words,
            "the layer means": self.layer_means_LD is not None,
            "the mixes of layers": self.mixes,
            "the model card": self.card,
        }
        names = ", ".join(name for name, value in beside.items() if value)
        warnings.warn(f"{target}: {layout} cannot hold {names}: left out", UserWarning, stacklevel=3)

    @property
    def parameters(self) -> int:
        """How many numbers the biLM has (the softmax is not counted)."""
        return sum(tensor.numel() for tensor in self.bilm.values())


def build_bilm(checkpoint: Checkpoint) -> BiLM:
    """Build the network, ready for inference.

    Its parameters are the checkpoint's own tensors, not copies: whoever trains the network changes both.
    """
    with without_values():
        bilm = BiLM(checkpoint.config.bilm)
    bilm.load_state_dict(checkpoint.bilm, strict=True, assign=True)
    return bilm.eval()


def random_checkpoint(config: ElmoConfig, seed: int) -> Checkpoint:
    """Draw the reference's initial values; the same seed gives the same model, and no other random numbers change.

    Args:
        config: What the model shall be.
        seed: Chooses the values.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bilm = BiLM(config.bilm)
    return Checkpoint(config=config, bilm=bilm.state_dict(), origin=f"random values (seed {seed})")
