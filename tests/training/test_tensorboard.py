"""What TensorBoard reads back is what was written."""

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from elmokit.errors import MissingExtraError
from elmokit.training.log import JsonLog, Logs
from elmokit.training.tensorboard import TensorBoardLog


def test_numbers_by_step_and_those_after_a_restart_hide_later_ones(tmp_path: Path) -> None:
    first = TensorBoardLog(tmp_path / "events")
    Logs(JsonLog(tmp_path / "log.jsonl"), first).write(steps=50, loss=5.5)
    first.write(steps=100, loss=5.0, heldout_backward=None, final={"mean": 140.0})
    TensorBoardLog(tmp_path / "events", steps=50).write(steps=100, loss=4.0)
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(50, 5.5), (100, 4.0)]
    assert set(events.Tags()["scalars"]) == {"loss", "final/mean"}
    assert '"loss": 5.5' in (tmp_path / "log.jsonl").read_text(encoding="utf-8")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"--tensorboard needs .*elmokit\[tensorboard\]"):
        TensorBoardLog(tmp_path / "events")
    assert not (tmp_path / "events").exists()
