"""What a model is, as `config.json` says it."""

import dataclasses
from typing import Any

import pytest

from elmokit.config import BiLMConfig, CharCnnConfig, CodePointsConfig, ElmoConfig, WordTableConfig
from elmokit.errors import FormatError

CODE_POINTS = CharCnnConfig(code_points=CodePointsConfig(characters=9, padding=3))
TABLE = WordTableConfig(words=7, dim=512)
PROJECTED = WordTableConfig(words=7, dim=20, projection=True)
CONFIGS = {
    "bytes": BiLMConfig(),
    "code points": BiLMConfig(char_cnn=CODE_POINTS, forget_bias=0.0),
    "whole words": BiLMConfig(char_cnn=None, word_table=TABLE),
    "whole words and code points": BiLMConfig(char_cnn=CODE_POINTS, word_table=PROJECTED, forget_bias=0.0),
    "whole words and bytes": BiLMConfig(word_table=PROJECTED),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_comes_back_as_it_was(name: str) -> None:
    config = ElmoConfig(bilm=CONFIGS[name])
    assert ElmoConfig.from_dict(config.to_dict()) == config
    assert CONFIGS[name].reads == name


def test_models_of_the_usual_kind_are_written_as_ever() -> None:
    """Older versions read them, and what was learned over them names them by a hash of this."""
    expected = "char_cnn cell_dim projection_dim layers cell_clip projection_clip skip_connections"
    data = BiLMConfig().to_dict()
    assert list(data) == expected.split()
    assert list(data["char_cnn"]) == ["embedding_dim", "filters", "activation", "highways", "projection", "max_characters"]


def test_a_model_that_reads_forward_alone_says_so() -> None:
    config = BiLMConfig(bidirectional=False)
    assert config.to_dict()["bidirectional"] is False
    assert BiLMConfig.from_dict(config.to_dict()) == config
    assert (config.directions, config.dim, BiLMConfig().directions, BiLMConfig().dim) == (1, 512, 2, 1024)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_knows_bytes_alone_says_so(name: str) -> None:
    if name == "bytes":
        assert CONFIGS[name].byte_cnn is CONFIGS[name].char_cnn
        return
    with pytest.raises(ValueError, match=f"for models that read the bytes of words; this one reads {name}"):
        _ = CONFIGS[name].byte_cnn


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"char_cnn": None}, "a model needs char_cnn, word_table or both"),
        ({"word_table": TABLE}, "go through one projection: it must be true for both"),
        ({"char_cnn": None, "word_table": dataclasses.replace(TABLE, dim=5)}, "needs dim 512, the LSTM's width, not 5"),
        ({"forget_bias": float("nan")}, "forget_bias must be a finite number, not nan"),
    ],
)
def test_what_no_network_can_be_built_from(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(BiLMConfig(), **change)


@pytest.mark.parametrize(
    ("part", "data", "message"),
    [
        ("word_table", {"words": 0, "dim": 512}, "words must be above 0, not 0"),
        ("word_table", {"words": "7", "dim": 512}, "words must be a whole number, not '7'"),
        ("word_table", {"words": 7, "dim": 512, "more": 1}, "more"),
        ("word_table", [7], "mapping"),
        ("char_cnn", {"code_points": {"characters": 3, "padding": 3}}, "padding must be 0 or more and below characters"),
        ("char_cnn", {"code_points": {"characters": True, "padding": 0}}, "characters must be a whole number, not True"),
        ("char_cnn", 3, "no attribute"),
    ],
)
def test_wrong_files(part: str, data: object, message: str) -> None:
    config = ElmoConfig(bilm=CONFIGS["whole words"]).to_dict()
    config["bilm"][part] = data
    with pytest.raises(FormatError, match=f"config.json: .*{message}"):
        ElmoConfig.from_dict(config)
