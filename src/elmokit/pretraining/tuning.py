"""Going on from a model that was trained before: what of it is taken over, and into which vocabulary.

keep      the model's own words
extend    these, and the most frequent ones of the new text that are not among them
renew     the most frequent words of the new text; the model's rows for those that it knew
"""

from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.lm.language_model import LanguageModel
from elmokit.pretraining.corpus import Corpus
from elmokit.text.vocabulary import UNK_ID, Vocabulary

VocabularyChoice = Literal["keep", "extend", "renew"]
RARE_WORDS = 1000
"""A word that the model did not predict begins as the mean of so many of the rarest words that it did."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run begins with."""

    checkpoint: Checkpoint
    """The model."""
    words: VocabularyChoice = "keep"
    """The words that are predicted; see the head of this file."""

    def __post_init__(self) -> None:
        """Refuse what cannot be gone on from.

        Raises:
            ValueError: Names the model and the option.
        """
        model = self.checkpoint
        config = model.config.bilm
        if config.char_cnn is not None and config.char_cnn.code_points is not None:
            raise ValueError(f"{model.origin}: reads code points of its own table; what is tuned reads the bytes of words")
        if config.word_table is not None and self.words != "keep":
            raise ValueError(f"{model.origin}: looks words up in a table of its own: --vocabulary keep is the only choice for it")
        if self.words != "renew" and (model.head is None or model.vocabulary is None):
            raise ValueError(
                f"{model.origin}: has no softmax, or no words for it: with --vocabulary renew a new one is learned from the text"
            )

    def head_first(self, share: float) -> float:
        """Give the share of the budget in which the softmax is learned alone: none if it is known already."""
        return 0.0 if self.checkpoint.head is not None and self.checkpoint.vocabulary is not None else share

    def vocabulary(self, corpus: Corpus, size: int) -> Vocabulary:
        """Choose the words.

        Args:
            corpus: The new text.
            size: V at most, where words are added or chosen anew.
        """
        if self.words == "renew":
            return corpus.vocabulary(size)
        own = self.checkpoint.vocabulary
        assert own is not None, "it has been checked"
        if self.words == "keep":
            return own
        added = (word for word in corpus.vocabulary(len(corpus.words)).words if word not in own)
        return Vocabulary((*own.words, *islice(added, max(0, size - len(own)))))

    def take_over(self, model: LanguageModel, vocabulary: Vocabulary) -> None:
        """Give a model that was built for the vocabulary the weights that are known for it; the rest keeps its first values."""
        model.bilm.load_state_dict(self.checkpoint.bilm)
        if self.checkpoint.head is None or self.checkpoint.vocabulary is None:
            return
        known_V = torch.from_numpy(self.checkpoint.vocabulary.ids(vocabulary.words))
        new_V = (known_V == UNK_ID) & (torch.arange(len(known_V)) != UNK_ID)
        with torch.no_grad():
            for name, parameter in (("weight", model.head.weight), ("bias", model.head.bias)):
                parameter.copy_(_rows(self.checkpoint.head[name].float(), known_V, new_V))


def _rows(own: Tensor, known_V: Tensor, new_V: Tensor) -> Tensor:
    """The rows of known words; for new ones the mean of the rarest."""
    rows = own[known_V].clone()
    rows[new_V] = own[-RARE_WORDS:].mean(0)
    return rows
