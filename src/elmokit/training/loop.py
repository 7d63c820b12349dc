"""The loop of any training run: steps until the budget is used, a checkpoint now and then, one at the end.

A task is whatever has the methods of `Trainee`; the loop knows nothing else of it.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Protocol

from tqdm import tqdm

from elmokit.training.budget import Budget, Progress
from elmokit.training.log import JsonLog, Meter, progress_line


class Trainee(Protocol):
    """What the loop asks of a task."""

    progress: Progress
    """What has been done so far; the task counts steps, tokens and passes, the loop the seconds."""

    def step(self, used: float) -> dict[str, float]:
        """Do one update, `used` being the share of the budget used; give what to log, `loss` among it."""

    def save(self) -> None:
        """Write a checkpoint."""

    def evaluate(self) -> dict[str, float]:
        """Measure on held-out data; give what to log."""


def train(task: Trainee, budget: Budget, log: JsonLog, *, checkpoint_minutes: float = 10.0, log_steps: int = 50) -> None:
    """Train until the budget is used; if it is used already, do nothing.

    SIGTERM and an interrupt from the keyboard end the step, write a checkpoint and raise `KeyboardInterrupt`.

    Args:
        task: What is trained.
        budget: How long.
        log: Where numbers go.
        checkpoint_minutes: Time between checkpoints, each with an evaluation.
        log_steps: Steps between lines of the log; their numbers are means over these steps.

    Raises:
        KeyboardInterrupt: A signal asked to stop; the checkpoint is written.
    """
    if budget.used(task.progress) >= 1:
        return
    meter = Meter(task.progress)
    last_save = time.monotonic()
    with _stop_signals() as stop, tqdm(bar_format="{desc}", dynamic_ncols=True) as bar:

        def report() -> None:
            numbers = meter.means(task.progress)
            log.write(**numbers)
            used = budget.used(task.progress)
            bar.set_description_str(progress_line(numbers, used, task.progress.seconds), refresh=used < 1)  # the end shows it too

        while (used := budget.used(task.progress)) < 1:
            start = time.monotonic()
            meter.add(task.step(used))
            task.progress = replace(task.progress, seconds=task.progress.seconds + time.monotonic() - start)
            if task.progress.steps % log_steps == 0:
                report()
            if stop.is_set():
                task.save()
                raise KeyboardInterrupt("stopped; the checkpoint is written, --resume auto goes on from it")
            if time.monotonic() - last_save > 60 * checkpoint_minutes:
                _checkpoint(task, log)
                last_save = time.monotonic()
        if meter.count:  # the steps since the last line
            report()
    _checkpoint(task, log)


def _checkpoint(task: Trainee, log: JsonLog) -> None:
    """Save first, measure then: what is measured is never lost."""
    task.save()
    log.write(steps=task.progress.steps, tokens=task.progress.tokens, **task.evaluate())


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event that the loop looks at between steps; a second SIGINT stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
