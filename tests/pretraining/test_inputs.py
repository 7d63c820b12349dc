"""Models that read words, or words and characters, learn and are read again from their folder."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.pretraining.conftest import RECIPE, sentences

from elmokit.checkpoints.folder import load_folder
from elmokit.embedding.elmo import Elmo
from elmokit.lm.load import load_language_model
from elmokit.pretraining.inputs import Input, tables_of
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import prepare
from elmokit.pretraining.pretrain import pretrain
from elmokit.training.budget import Budget

Options = Callable[..., PretrainOptions]


@pytest.mark.parametrize("read", ["characters", "words", "both"])
@pytest.mark.parametrize("optimizer", ["reference", "modern"])
def test_it_learns(options: Options, read: Input, optimizer: str) -> None:
    rate = 0.2 if optimizer == "reference" else 1e-2
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=rate)  # type: ignore[arg-type]  # one of the two
    before = pretrain(options(read=read, recipe=recipe, budget=Budget(steps=1)))
    after = pretrain(options(read=read, recipe=recipe, budget=Budget(steps=60)))
    assert after.mean < 0.8 * before.mean
    checkpoint = load_folder(options().out)
    assert checkpoint.tied == (read == "words")
    assert (checkpoint.input_words is None) == (read == "characters")
    load_language_model(checkpoint)
    line = sentences(3, seed=9)[0].split()
    vectors = Elmo.from_pretrained(options().out).encode_tokens([[*line, "never-seen"]])[0]
    assert len(vectors) == len(line) + 1


def test_words_and_softmax_are_one_table_of_sparse_gradients(options: Options) -> None:
    trainer = prepare(options(read="words"))
    (table,) = tables_of(trainer.model.bilm)
    assert table.weight is trainer.model.head.weight
    assert table.sparse
    before = table.weight.detach().clone()
    trainer.step(0.0)
    changed = (table.weight.detach() != before).any(1)
    assert 0 < changed.sum() < len(changed), "rows that were neither read, asked for nor drawn stay"


def test_it_goes_on_exactly(options: Options) -> None:
    whole = prepare(options(read="words"))
    for _ in range(6):
        whole.step(0.0)
    parts = prepare(options(read="words", resume="never"))
    for _ in range(3):
        parts.step(0.0)
    parts.save()
    resumed = prepare(options(read="words"))
    assert resumed.progress.steps == 3
    for _ in range(3):
        resumed.step(0.0)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
