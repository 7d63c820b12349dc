"""A language that is easily learned, and the smallest model that can."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from elmokit.checkpoints.checkpoint import TABLE, Checkpoint, random_checkpoint
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig, TextConfig, WordTableConfig
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import Recipe
from elmokit.text.tables import WordTable
from elmokit.text.vocabulary import SPECIAL_WORDS, Vocabulary
from elmokit.training.budget import Budget

TINY = BiLMConfig(
    char_cnn=CharCnnConfig(embedding_dim=4, filters=((1, 4), (2, 4)), highways=1, max_characters=12),
    cell_dim=12,
    projection_dim=8,
)
RECIPE = Recipe(
    optimizer="reference",
    learning_rate=0.2,
    schedule="constant",
    clip_norm=10.0,
    batch_size=4,
    window=6,
    negatives=12,
    dropout=0.1,
)


def sentences(number: int, seed: int = 0) -> list[str]:
    """Each word tells much of the next one; a few are rare."""
    generator = random.Random(seed)
    lines = []
    for _ in range(number):
        place = generator.randrange(20)
        words = []
        for _ in range(generator.randint(1, 8)):
            words.append(f"w{place}" if generator.random() < 0.97 else f"rare{generator.randrange(10**6)}")
            place = (2 * place + generator.randrange(2)) % 20
        lines.append(" ".join(words))
    return lines


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(sentences(400)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def heldout(tmp_path: Path) -> Path:
    path = tmp_path / "heldout.txt"
    path.write_text("\n".join(sentences(60, seed=1)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def options(tmp_path: Path, corpus: Path, heldout: Path) -> Callable[..., PretrainOptions]:
    """Options of a small run; any may be given."""

    def make(**changes: object) -> PretrainOptions:
        settings = {
            "train": TextSource([str(corpus)]),
            "heldout": TextSource([str(heldout)]),
            "out": tmp_path / "model",
            "bilm": TINY,
            "text": TextConfig(tokenizer="whitespace"),
            "recipe": RECIPE,
            "vocabulary_size": 30,
            "budget": Budget(steps=12),
        }
        return PretrainOptions(**{**settings, **changes})  # type: ignore[arg-type]  # any option

    return make


OLD_WORDS = ("w3", "gone", "w0", "w11", "älter", "w7", "w1", "银行")
"""What the models know that are tuned: five of them, not the most frequent ones first, stand in the new text too."""


def old_model(bilm: BiLMConfig = TINY, *, head: bool = True, tied: bool = False) -> Checkpoint:
    """A model to go on from."""
    checkpoint = random_checkpoint(ElmoConfig(bilm=bilm, text=TextConfig(tokenizer="whitespace"), languages=("de",)), seed=3)
    vocabulary = Vocabulary((*SPECIAL_WORDS, *OLD_WORDS))
    random = torch.Generator().manual_seed(4)
    weight = torch.randn(len(vocabulary), bilm.output_dim, generator=random)
    return replace(
        checkpoint,
        head={"weight": checkpoint.bilm[TABLE] if tied else weight, "bias": torch.randn(len(vocabulary), generator=random)}
        if head
        else None,
        vocabulary=vocabulary if head else None,
        input_words=WordTable({word: number for number, word in enumerate(vocabulary.words)}) if bilm.word_table else None,
        origin="old",
    )


WORDS_ALONE = replace(TINY, char_cnn=None, word_table=WordTableConfig(words=len(OLD_WORDS) + 3, dim=TINY.output_dim))
BOTH = replace(TINY, word_table=WordTableConfig(words=len(OLD_WORDS) + 3, dim=5, projection=True))
