"""Room in memory, asked for beforehand."""

import pytest
import torch

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.kernels import headroom
from elmokit.kernels.engine import Engine
from elmokit.kernels.headroom import check_room
from elmokit.model.bilm import BiLM


def test_what_can_be_had_is_given_back() -> None:
    for _ in range(100):
        check_room(1 << 30)


@pytest.mark.parametrize("size", [1 << 60, 1 << 80])
def test_what_cannot_be_had_is_one_error(size: int) -> None:
    with pytest.raises(MemoryError, match="MB are not to be had"):
        check_room(size)


def test_the_engine_asks_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(BiLM(BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),), highways=1), cell_dim=8, projection_dim=4)))
    x_BTP = torch.zeros(1, 2, 4)
    monkeypatch.setattr(headroom, "ROOM", 1 << 60)
    for work in (
        lambda: engine.word_vectors(torch.zeros(1, 50, dtype=torch.long)),
        lambda: engine.layers_of(x_BTP, torch.tensor([2])),
        lambda: engine.stacks([x_BTP, x_BTP]),
    ):
        with pytest.raises(MemoryError, match="not to be had"):
            work()
    with pytest.warns(UserWarning, match="going on without prepared weights"):
        engine.expect(1000)
