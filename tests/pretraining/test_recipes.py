"""Ways of training, and sizes."""

import dataclasses

import pytest

from elmokit.model.bilm import BiLM
from elmokit.model.without_values import without_values
from elmokit.pretraining.recipes import PRESETS, RECIPES, Recipe


def test_the_reference_is_that_of_bilm_tf() -> None:
    expected = {
        "optimizer": "reference",
        "learning_rate": 0.2,
        "schedule": "constant",
        "clip_norm": 10.0,
        "batch_size": 128,
        "window": 20,
        "negatives": 8192,
        "dropout": 0.1,
        "fresh_sentences": False,
        "layer_factor": 1.0,
        "head_first": 0.0,
        "character_noise": 0.0,
    }
    assert dataclasses.asdict(RECIPES["reference"]) == expected
    assert RECIPES["modern"].optimizer == "modern"


@pytest.mark.parametrize(("name", "millions"), [("small", 13.6), ("medium", 28.0), ("original", 93.6)])
def test_published_sizes(name: str, millions: float) -> None:
    with without_values():
        bilm = BiLM(PRESETS[name])
    assert sum(parameter.numel() for parameter in bilm.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("learning_rate", 0.0),
        ("clip_norm", -1.0),
        ("batch_size", -3),
        ("window", 0),
        ("negatives", -1),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("character_noise", 1.5),
        ("layer_factor", 0.0),
        ("layer_factor", 1.5),
        ("layer_factor", float("nan")),
        ("head_first", 1.0),
        ("head_first", -0.1),
        ("dropout", float("nan")),
        ("learning_rate", float("nan")),
    ],
)
def test_what_cannot_train_is_refused_by_the_options_name(option: str, value: float) -> None:
    settings = dataclasses.asdict(RECIPES["modern"]) | {option: value}
    with pytest.raises(ValueError, match=f"--{option.replace('_', '-')} must be .*, not {value}"):
        Recipe(**settings)
