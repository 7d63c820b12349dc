"""Models for the tests of this room."""

import dataclasses
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.checkpoints.small_models import forward_alone
from tests.golden.cases import DATA

from elmokit.checkpoints.hdf5 import load_hdf5
from elmokit.embedding.elmo import Elmo


@pytest.fixture(scope="session")
def elmo() -> Elmo:
    """The random model that ships, whose clips act; three layers of 16 numbers."""
    folder = DATA / "models/random_tiny"
    return Elmo(load_hdf5(folder / "options.json", folder / "weights.hdf5"))


@pytest.fixture(scope="session")
def forward_elmo(elmo: Elmo) -> Elmo:
    """The same without its backward direction; three layers of 8 numbers."""
    return Elmo(forward_alone(dataclasses.replace(elmo.checkpoint, bilm=elmo.bilm.state_dict())))


@pytest.fixture(scope="session")
def shared_elmo(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Elmo]:
    """Loads a model of the collection of reference numbers."""
    golden = shared / "golden"

    def load(name: str) -> Elmo:
        if name == "fixture_allennlp":
            return Elmo.from_pretrained(golden / "official/allennlp/options.json")
        weights = tmp_path_factory.mktemp(name) / "weights.hdf5"
        runpy.run_path(str(golden / "make_weights.py"))["main"](golden / "models" / name / "spec.json", weights)
        model = Elmo(load_hdf5(golden / "models" / name / "options.json", weights))
        weights.unlink()
        return model

    return load


@pytest.fixture(scope="session")
def random_small(shared_elmo: Callable[[str], Elmo]) -> Elmo:
    """Random weights in the published small size."""
    return shared_elmo("random_small")


@pytest.fixture(scope="session")
def en_small() -> Elmo:
    """The bundled model."""
    return Elmo.from_pretrained("en-small", device="cpu")
