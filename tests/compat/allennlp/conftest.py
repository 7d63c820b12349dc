"""The model that ships with the recorded cases, as AllenNLP takes it: two files."""

from pathlib import Path

import pytest
from tests.golden.cases import DATA

FIXTURES = {"fixture_allennlp": "official/allennlp", "fixture_bilm_tf": "official/bilm_tf"}


@pytest.fixture(scope="session")
def tiny_files() -> tuple[str, str]:
    """`options.json` and `weights.hdf5` of the smallest recorded model."""
    folder = DATA / "models/random_tiny"
    return str(folder / "options.json"), str(folder / "weights.hdf5")


@pytest.fixture(scope="session")
def fixture_files(shared: Path) -> tuple[str, str]:
    """AllenNLP's own test fixture."""
    folder = shared / "golden/official/allennlp"
    return str(folder / "options.json"), str(folder / "lm_weights.hdf5")
