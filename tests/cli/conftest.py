"""What several commands need: a small model; and to fetch, a misbehaving web server and a cache, as in tests/checkpoints."""

import pytest
from tests.checkpoints.conftest import own_cache, web

from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig
from elmokit.embedding.elmo import Elmo

__all__ = ["own_cache", "web"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a small random model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    char_cnn = CharCnnConfig(embedding_dim=4, filters=((1, 8), (3, 8)))
    Elmo.from_config(ElmoConfig(bilm=BiLMConfig(char_cnn=char_cnn, cell_dim=16, projection_dim=6))).save_pretrained(folder)
    return str(folder)
