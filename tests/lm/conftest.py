"""Language models with recorded losses: bilm-tf's weights, its softmax and its words."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tests.checkpoints.small_models import forward_alone
from tests.golden.cases import DATA, Case, load_case
from tests.golden.test_loss_cases import WORD_CASES, checkpoint_of

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.lm.language_model import LanguageModel
from elmokit.lm.load import load_language_model
from elmokit.text.readers import WordReader
from elmokit.text.vocabulary import Vocabulary


class Golden(NamedTuple):
    """The model of one recorded case."""

    case: Case
    checkpoint: Checkpoint
    model: LanguageModel
    vocabulary: Vocabulary

    @property
    def reader(self) -> WordReader:
        return self.checkpoint.reader

    @property
    def text(self) -> list[list[str]]:
        """What the recorded batches were made of."""
        return [line.split() for line in (DATA / "training/train.txt").read_text(encoding="utf-8").splitlines()]


def golden_of(case: Case, folder: Path) -> Golden:
    """Build the model of a recorded case."""
    weight = case.arrays.get("var/lm/softmax/W", case.arrays.get("var/lm/embedding"))  # the latter where it is tied
    assert weight is not None
    checkpoint = dataclasses.replace(
        checkpoint_of(case, folder),
        head={"weight": torch.from_numpy(weight), "bias": case.tensor("var/lm/softmax/b")},
        vocabulary=Vocabulary.load(DATA / "training/vocab.txt"),
    )
    return Golden(case, checkpoint, *load_language_model(checkpoint))


@pytest.fixture(scope="session", params=["train_loss_char", "train_loss_char_tanh_noskip"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """A model that reads characters."""
    return golden_of(load_case(request.param), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def forward_golden(golden: Golden) -> Golden:
    """The same model without its backward direction."""
    checkpoint = forward_alone(golden.checkpoint)
    return golden._replace(checkpoint=checkpoint, model=load_language_model(checkpoint)[0])


@pytest.fixture(scope="session", params=WORD_CASES)
def word_golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Golden:
    """A model that looks words up; the softmax of one is tied to its table."""
    return golden_of(load_case(request.param, shared / "golden"), tmp_path_factory.mktemp(request.param))
