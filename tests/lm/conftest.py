"""A trained-like language model that ships: bilm-tf's recorded weights, its softmax and its words."""

from pathlib import Path
from typing import NamedTuple

import pytest
from tests.golden.cases import DATA, Case, load_case
from tests.golden.test_loss_cases import bilm_of

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.config import ElmoConfig, TextConfig
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


@pytest.fixture(scope="session", params=["train_loss_char", "train_loss_char_tanh_noskip"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    case = load_case(request.param)
    folder: Path = tmp_path_factory.mktemp(request.param)
    bilm = bilm_of(case, folder)
    checkpoint = Checkpoint(
        config=ElmoConfig(bilm=bilm.config, text=TextConfig(tokenizer="whitespace")),
        bilm=bilm.state_dict(),
        head={"weight": case.tensor("var/lm/softmax/W"), "bias": case.tensor("var/lm/softmax/b")},
        vocabulary=Vocabulary.load(DATA / "training/vocab.txt"),
        origin=request.param,
    )
    return Golden(case, checkpoint, *load_language_model(checkpoint))
