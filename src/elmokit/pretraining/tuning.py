"""Going on from a model that was trained before: what of it is taken over, and into which vocabulary.

keep      the model's own words
extend    these, and the most frequent ones of the new text that are not among them
renew     the most frequent words of the new text; the model's rows for those that it knew
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from typing import Any, Literal

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
    name: str
    """What the model card of the tuned one calls it."""
    words: VocabularyChoice = "keep"
    """The words that are predicted; see the head of this file."""

    def __post_init__(self) -> None:
        """Refuse what cannot be gone on from.

        Raises:
            ValueError: Names the model and the option.
        """
        model = self.checkpoint
        config = model.config.bilm
        headless = model.head is None or model.vocabulary is None
        if config.char_cnn is not None and config.char_cnn.code_points is not None:
            raise ValueError(f"{model.origin}: reads code points of its own table; what is tuned reads the bytes of words")
        if config.word_table is not None:
            self._check_table()
        if headless and self.words != "renew":
            raise ValueError(
                f"{model.origin}: has no softmax, or no words for it: with --vocabulary renew a new one is learned from the text"
            )

    def _check_table(self) -> None:
        """Refuse a table of words that training could not go on with.

        Raises:
            ValueError: Names the model.
        """
        model = self.checkpoint
        if model.head is None or model.vocabulary is None or model.input_words is None:
            raise ValueError(f"{model.origin}: looks words up and has no softmax for them: it cannot be tuned")
        if self.words != "keep":
            raise ValueError(f"{model.origin}: looks words up in a table of its own: --vocabulary keep is the only choice for it")
        rows_V1 = model.input_words.rows(model.vocabulary.words)
        if (rows_V1[:, 0] != range(len(rows_V1))).any():
            raise ValueError(f"{model.origin}: its table of words has another order than its vocabulary: it cannot be tuned")

    def check_size(self, size: int) -> None:
        """Refuse a size that leaves no room for words to be added.

        Raises:
            ValueError: It is not above that of the model's vocabulary.
        """
        own = self.checkpoint.vocabulary
        if self.words == "extend" and own is not None and size <= len(own):
            raise ValueError(f"--vocab-size must be above the {len(own):,} words of the model, to extend them, not {size:,}")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on: the numbers, from wherever they were read."""
        model = self.checkpoint
        digest = blake2b(repr(model.vocabulary and model.vocabulary.words).encode(), digest_size=8)
        for tensors in (model.bilm, model.head or {}):
            for name in sorted(tensors):
                digest.update(name.encode())
                digest.update(tensors[name].detach().cpu().contiguous().numpy().data)
        return {"model": digest.hexdigest(), "vocabulary": self.words}

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
        frequent = (corpus.words[number] for number in range(corpus.facts["words_of_training"]))
        added = (word for word in frequent if word not in own)
        return Vocabulary((*own.words, *islice(added, size - len(own))))

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
    rows = own[known_V]  # a copy
    rows[new_V] = own[-RARE_WORDS:].mean(0)
    return rows
