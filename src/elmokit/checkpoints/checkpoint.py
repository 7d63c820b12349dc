"""A model in memory, whatever the format it came from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from elmokit.config import ElmoConfig
from elmokit.model.bilm import BiLM
from elmokit.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a model folder holds."""

    config: ElmoConfig
    """What the model is."""
    bilm: dict[str, Tensor]
    """The biLM's tensors (float32), named as in `BiLM.state_dict()`."""
    head: dict[str, Tensor] | None = None
    """The language model's softmax: "weight" (V, P) and "bias" (V), if it is there."""
    vocabulary: Vocabulary | None = None
    """The V words that the softmax predicts, if known."""
    layer_means_LD: Tensor | None = None
    """The mean vector of each of the L + 1 layers, if it was measured."""
    card: str | None = None
    """The model card, in Markdown."""
    origin: str
    """What it was read from, for messages and for `elmo info`."""

    @property
    def parameters(self) -> int:
        """How many numbers the biLM has (the softmax is not counted)."""
        return sum(tensor.numel() for tensor in self.bilm.values())


def build_bilm(checkpoint: Checkpoint) -> BiLM:
    """Build the network, ready for inference.

    Its parameters are the checkpoint's own tensors, not copies: whoever trains the network changes both.
    """
    with torch.device("meta"):  # neither memory nor time for values that are replaced at once
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
