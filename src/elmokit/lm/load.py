"""A checkpoint with a head → a language model."""

import torch

from elmokit.checkpoints.checkpoint import Checkpoint, build_bilm
from elmokit.lm.language_model import LanguageModel
from elmokit.model.softmax import SoftmaxHead
from elmokit.text.vocabulary import Vocabulary


def load_language_model(checkpoint: Checkpoint) -> tuple[LanguageModel, Vocabulary]:
    """Join the biLM and the softmax of a checkpoint, ready for scoring.

    Raises:
        ValueError: It has no head or no vocabulary, as all of the published HDF5 files.
    """
    if checkpoint.head is None or checkpoint.vocabulary is None:
        raise ValueError(
            f"{checkpoint.origin}: has no language-model head, so it cannot score text; a model that `elmo pretrain` wrote can"
        )
    with torch.device("meta"):
        head = SoftmaxHead(len(checkpoint.vocabulary), checkpoint.config.bilm.output_dim)
    head.load_state_dict(checkpoint.head, assign=True)
    return LanguageModel(build_bilm(checkpoint), head).eval(), checkpoint.vocabulary
