"""What is read while a device computes changes nothing: neither the weights nor where a checkpoint goes on."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.pretraining.conftest import RECIPE

from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import prepare
from elmokit.pretraining.pretrainer import Pretrainer

Options = Callable[..., PretrainOptions]

NOISY = replace(RECIPE, character_noise=0.3, fresh_sentences=True)


def trainer_of(options: PretrainOptions, ahead: bool) -> Pretrainer:
    trainer = prepare(options)
    trainer.way = replace(trainer.way, read_ahead=ahead)
    return trainer


def assert_same(ours: Pretrainer, theirs: Pretrainer) -> None:
    assert ours.consumed == theirs.consumed
    assert ours.progress == theirs.progress
    for name, tensor in theirs.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], tensor), name


@pytest.mark.parametrize("accumulate", [1, 2])
def test_reading_ahead_gives_the_same_steps(options: Options, accumulate: int) -> None:
    trainers = [
        trainer_of(options(recipe=NOISY, accumulate=accumulate, out=options().out.with_name(str(ahead))), ahead)
        for ahead in (True, False)
    ]
    losses = []
    for trainer in trainers:
        torch.manual_seed(3)
        losses.append([trainer.step(step / 20) for step in range(20)])
    assert losses[0] == losses[1]
    assert_same(*trainers)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_a_checkpoint_goes_on_after_the_window_last_trained(options: Options, before: bool, after: bool) -> None:
    """Across the end of a pass too, and though one has read further than it has trained, as others will not."""
    run = options(recipe=NOISY)
    whole = trainer_of(options(recipe=NOISY, out=options().out.with_name("whole")), False)
    for _ in range(110):
        whole.step(0.0)
    assert whole.progress.passes > 1
    for first, last in ((0, 7), (7, 90), (90, 110)):
        trainer = trainer_of(run, before if first == 7 else after)
        assert trainer.progress.steps == first
        for _ in range(first, last):
            trainer.step(0.0)
        trainer.save()
    assert_same(trainer, whole)


def test_what_was_read_ahead_is_forgotten_where_a_checkpoint_is_gone_back_to(options: Options) -> None:
    trainer = trainer_of(options(recipe=NOISY), True)
    for _ in range(5):
        trainer.step(0.0)
    trainer.save()
    read = [trainer.consumed]
    for _ in range(2):
        trainer.step(0.0)
        read.append(trainer.consumed)
    assert trainer.restore() == ""
    again = [trainer.consumed]
    for _ in range(2):
        trainer.step(0.0)
        again.append(trainer.consumed)
    assert again == read
