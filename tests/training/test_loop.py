"""Steps until the budget is used, checkpoints on the way, signals that stop between steps."""

import json
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elmokit.training.budget import Budget, Progress
from elmokit.training.log import JsonLog
from elmokit.training.loop import train


class Task:
    """Counts; `at` does something in a certain step."""

    def __init__(self, at: dict[int, Callable[[], None]] | None = None) -> None:
        self.progress = Progress()
        self.at = at or {}
        self.events: list[str] = []
        self.used: list[float] = []

    def step(self, used: float) -> dict[str, float]:
        self.used.append(used)
        number = self.progress.steps + 1
        self.at.get(number, lambda: None)()
        self.progress = Progress(steps=number, tokens=10 * number, passes=number / 4, seconds=self.progress.seconds)
        return {"loss": float(number)}

    def save(self) -> None:
        self.events.append(f"save {self.progress.steps}")

    def evaluate(self) -> dict[str, float]:
        self.events.append(f"evaluate {self.progress.steps}")
        return {"heldout_mean": 7.0}


@pytest.fixture
def log(tmp_path: Path) -> JsonLog:
    return JsonLog(tmp_path / "log.jsonl")


def records(log: JsonLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines()]


def test_it_ends_with_the_budget_and_saves_what_was_measured(log: JsonLog) -> None:
    task = Task()
    train(task, Budget(steps=5), log, log_steps=2)
    assert task.used == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert task.events == ["evaluate 5", "save 5"]
    assert [(r["steps"], r.get("loss"), r.get("heldout_mean")) for r in records(log)] == [
        (2, 1.5, None),
        (4, 3.5, None),
        (5, 5.0, None),  # the last steps are logged too
        (5, None, 7.0),
    ]
    assert all(r["tokens_per_second"] > 0 for r in records(log)[:3])


def test_a_used_budget_does_no_step(log: JsonLog) -> None:
    task = Task()
    task.progress = Progress(steps=5, tokens=50)
    train(task, Budget(tokens=50), log)
    assert task.used == []
    assert task.events == []
    assert not log.path.exists()


@pytest.mark.parametrize("log_steps", [2, 3])
def test_each_line_is_shown_once(log: JsonLog, log_steps: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With stderr in a file too, where a line that is written again stands there twice."""
    train(Task(), Budget(steps=4), log, log_steps=log_steps)
    assert re.findall(r"step \d", capsys.readouterr().err) == [f"step {log_steps}", "step 4"]


def test_seconds_are_those_of_the_steps(log: JsonLog) -> None:
    task = Task({1: lambda: time.sleep(0.05), 2: lambda: time.sleep(0.05)})
    task.progress = Progress(seconds=100)
    train(task, Budget(steps=2), log)
    assert 100.1 <= task.progress.seconds < 101
    assert [r["seconds"] for r in records(log)] == [round(task.progress.seconds, 3)] * 2, "of training and of held-out text"


def test_checkpoints_now_and_then(log: JsonLog) -> None:
    task = Task()
    train(task, Budget(steps=2), log, checkpoint_minutes=0)
    assert task.events == ["evaluate 1", "save 1", "evaluate 2", "save 2"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_saves(log: JsonLog, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    task = Task({3: lambda: signal.raise_signal(number)})
    with pytest.raises(KeyboardInterrupt, match="checkpoint is written"):
        train(task, Budget(steps=100), log)
    assert task.progress.steps == 3
    assert task.events == ["save 3"]
    assert signal.getsignal(number) is before


def test_a_second_interrupt_stops_at_once(log: JsonLog) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    task = Task({3: twice})
    with pytest.raises(KeyboardInterrupt):
        train(task, Budget(steps=100), log)
    assert task.progress.steps == 2
    assert task.events == []


def test_handlers_return_after_an_error(log: JsonLog) -> None:
    def fail() -> None:
        raise ValueError("not finite")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="not finite"):
        train(Task({2: fail}), Budget(steps=5), log)
    assert signal.getsignal(signal.SIGTERM) is before


def test_it_runs_in_any_thread(log: JsonLog) -> None:
    task = Task()
    thread = threading.Thread(target=train, args=(task, Budget(steps=2), log))
    thread.start()
    thread.join(20)
    assert task.events == ["evaluate 2", "save 2"]


class TestPatience:
    """Training ends when the held-out loss has not fallen for so many checkpoints in a row."""

    class Worsening(Task):
        losses = (9.0, 8.0, 8.5, 7.0, 7.0, 7.5, 8.0, 6.0)

        def step(self, used: float) -> dict[str, float]:
            progress = self.progress
            numbers = super().step(used)
            self.progress = replace(self.progress, best_loss=progress.best_loss, without_gain=progress.without_gain)
            return numbers

        def evaluate(self) -> dict[str, float]:
            super().evaluate()
            return {"heldout_mean": self.losses[self.progress.steps - 1]}

    def test_it_ends_and_is_done_for_good(self, log: JsonLog) -> None:
        task = self.Worsening()
        train(task, Budget(steps=8), log, checkpoint_minutes=0, patience=2)
        assert task.events[-2:] == ["evaluate 6", "save 6"], "what was measured is in the checkpoint"
        assert (task.progress.best_loss, task.progress.without_gain) == (7.0, 2)
        train(task, Budget(steps=8), log, checkpoint_minutes=0, patience=2)
        assert task.progress.steps == 6, "the same command finds that it is done"

    def test_more_patience_goes_on(self, log: JsonLog) -> None:
        task = self.Worsening()
        for patience in (2, 5):
            train(task, Budget(steps=8), log, checkpoint_minutes=0, patience=patience)
        assert task.progress.steps == 8
        assert task.progress.best_loss == 6.0

    def test_before_the_rate_falls_no_gain_is_asked_for(self, log: JsonLog) -> None:
        task = self.Worsening()
        train(task, Budget(steps=8), log, checkpoint_minutes=0, patience=2, patient_until=0.7)
        assert task.progress.steps == 7, "steps 6 and 7 count, 5 does not"
