"""What `elmo pretrain` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from elmokit.config import BiLMConfig, CharCnnConfig, TextConfig
from elmokit.kernels.device import has_bfloat16
from elmokit.pretraining.inputs import Input
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import Recipe
from elmokit.pretraining.tuning import Start
from elmokit.text.vocabulary import SPECIAL_WORDS, Vocabulary
from elmokit.training.budget import Budget

Resume = Literal["auto", "never"]
Precision = Literal["float32", "bfloat16"]


def precision_for(recipe: Recipe, device: torch.device) -> Precision:
    """Give what `--precision auto` is: the modern recipe's products are in bfloat16 where the device is made for it."""
    return "bfloat16" if recipe.optimizer == "modern" and has_bfloat16(device) else "float32"


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """What to train, on what, how and for how long."""

    train: TextSource
    """The text to learn from."""
    heldout: TextSource | None
    """The text to measure on; None: a hundredth of the documents."""
    out: Path
    """The model folder."""
    bilm: BiLMConfig
    """The shape."""
    text: TextConfig
    """Tokenizer and normalization."""
    read: Input = "characters"
    """What word vectors are made of."""
    recipe: Recipe
    """The way of training."""
    vocabulary_size: int
    """V at most, the three special words included."""
    vocabulary: Vocabulary | None = None
    """The words that are predicted; None: the most frequent ones of the text."""
    budget: Budget
    """When to stop."""
    languages: tuple[str, ...] = ()
    """ISO 639 codes that the model's configuration names."""
    seed: int = 0
    """Of initial values, dropout, candidates and the order of sentences."""
    shuffle: bool = True
    """Whether sentences are shuffled at every pass."""
    checkpoint_minutes: float = 10.0
    """Time between checkpoints."""
    resume: Resume = "auto"
    """"auto": go on from the checkpoint if there is one; "never": begin anew."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay, the best one apart."""
    accumulate: int = 1
    """Parts in which the batch is computed, one after the other: less memory."""
    device: str = "cpu"
    """Where to compute."""
    precision: Precision = "float32"
    """Of the matrix products; weights, sums and optimizer are float32 always."""
    patience: int | None = None
    """Measurements without a gain after which training ends, and the best checkpoint becomes the model; None: never."""
    start: Start | None = None
    """The model to go on from, which has the shape `bilm`; None: the first values are drawn."""
    tensorboard: bool = False
    """Whether the numbers are written for TensorBoard too."""

    def __post_init__(self) -> None:
        """Refuse what cannot train, before anything is read.

        Raises:
            ValueError: Names the option and what it may be.
        """
        if self.vocabulary_size <= len(SPECIAL_WORDS):
            raise ValueError(f"--vocab-size must be above 3 ({' '.join(SPECIAL_WORDS)} are in it), not {self.vocabulary_size}")
        if self.seed < 0:
            raise ValueError(f"--seed must be 0 or more, not {self.seed}")
        for name in ("keep_checkpoints", "accumulate", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be 1 or more, not {getattr(self, name)}")
        if not self.checkpoint_minutes >= 0:
            raise ValueError(f"--checkpoint-minutes must be 0 or more, not {self.checkpoint_minutes}")
        if self.start is not None:
            self.start.check_size(self.vocabulary_size)
        if self.recipe.character_noise and self.read == "words":
            raise ValueError("--character-noise misspells what is read by its characters; with --input words nothing is")

    @property
    def max_characters(self) -> int:
        """Places for a word's characters."""
        return (self.bilm.char_cnn or CharCnnConfig()).max_characters

    @property
    def work(self) -> Path:
        """The folder for shards, log and checkpoint."""
        return self.out.with_name(self.out.name + ".training")
