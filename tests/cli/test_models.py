"""`elmo models`."""

import json

import pytest

from elmokit.checkpoints.load import bundled_names
from elmokit.checkpoints.registry import published_models
from elmokit.cli import models
from elmokit.cli.main import main

pytestmark = pytest.mark.usefixtures("own_cache")


def test_every_model_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    models()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == [*bundled_names(), *published_models()]
    assert "whether an address still answers was not checked" in lines[-1]
    assert "reported dead" in next(line for line in lines if line.startswith("manylangs/zhs"))
    assert "traditional characters" in next(line for line in lines if line.startswith("manylangs/zh "))
    assert "unverified on the original files" in next(line for line in lines if line.startswith("tfhub/elmo-3"))


def test_json_holds_addresses_and_checksums(capsys: pytest.CaptureFixture[str]) -> None:
    models(json=True)
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["en-small"]["here"]
    original = found["allennlp/original"]
    assert not original["here"]
    assert original["license"] == "Apache-2.0"
    assert original["files"][1]["urls"][0].endswith("elmo_2x4096_512_2048cnn_2xhighway_weights.hdf5")
    assert original["files"][1]["bytes"] == 374_434_792
    assert found["t-systems/de-lm"]["files"][0]["md5"] == "755379908885a6fa6fb5b68e4806eae0"


def test_by_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--language", "zh"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == ["manylangs/zh", "manylangs/zhs"]
    models(language="de")
    assert "t-systems/de-lm" in capsys.readouterr().out


def test_a_language_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--language", "tlh"]) == 2
    assert "--language: no known model of 'tlh'" in capsys.readouterr().err
