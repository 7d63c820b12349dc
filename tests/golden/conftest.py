"""The models of the recorded cases."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.golden.cases import DATA

from elmokit.checkpoints.checkpoint import build_bilm
from elmokit.checkpoints.hdf5 import load_hdf5
from elmokit.model.bilm import BiLM

FIXTURES = {"fixture_allennlp": "official/allennlp", "fixture_bilm_tf": "official/bilm_tf"}


@pytest.fixture(scope="session")
def tiny() -> BiLM:
    """The random model that ships."""
    folder = DATA / "models/random_tiny"
    return build_bilm(load_hdf5(folder / "options.json", folder / "weights.hdf5"))


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """The whole collection."""
    return shared / "golden"


@pytest.fixture
def model_of(golden: Path, tmp_path: Path) -> Callable[[str], BiLM]:
    """Builds a model by the name that the index gives it."""

    def build(name: str) -> BiLM:
        if name in FIXTURES:
            folder = golden / FIXTURES[name]
            return build_bilm(load_hdf5(folder / "options.json", folder / "lm_weights.hdf5"))
        folder, weights = golden / "models" / name, tmp_path / "weights.hdf5"
        runpy.run_path(str(golden / "make_weights.py"))["main"](folder / "spec.json", weights)
        bilm = build_bilm(load_hdf5(folder / "options.json", weights))
        weights.unlink()  # the original size has 375 MB
        return bilm

    return build
