"""The loop of any training run: steps until the budget is used, a checkpoint now and then, one at the end.

A task is whatever has the methods of `Trainee`; the loop knows nothing else of it.
"""

import errno
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import NamedTuple, NoReturn, Protocol

from tqdm import tqdm

from elmokit.training.budget import Budget, Progress
from elmokit.training.log import Log, Meter, progress_line
from elmokit.training.ranks import ALONE, Ranks


class Trainee(Protocol):
    """What the loop asks of a task."""

    progress: Progress
    """What has been done so far; the task counts steps, tokens and passes, the loop the seconds."""

    def step(self, used: float) -> dict[str, float]:
        """Do one update, `used` being the share of the budget used; give what to log, `loss` among it."""

    def save(self) -> None:
        """Write a checkpoint."""

    def evaluate(self) -> dict[str, float]:
        """Measure on held-out data; give what to log, `heldout_mean` among it: the lower the better."""


def train(
    task: Trainee,
    budget: Budget,
    log: Log,
    *,
    checkpoint_minutes: float = 10.0,
    log_steps: int = 50,
    patience: int | None = None,
    patient_until: float = 0.0,
    ranks: Ranks = ALONE,
) -> None:
    """Train until the budget is used or the held-out loss has stopped falling; if it is so already, do nothing.

    SIGTERM and an interrupt from the keyboard end the step, write a checkpoint and raise `KeyboardInterrupt`. A disk
    that is full when a checkpoint is due is told, and training goes on: the last one before is kept.

    Args:
        task: What is trained.
        budget: How long.
        log: Where numbers go.
        checkpoint_minutes: Time between checkpoints, each with an evaluation.
        log_steps: Steps between lines of the log; their numbers are means over these steps.
        patience: Evaluations without a gain, one after the other, after which training ends; None: never before the budget
            is used.
        patient_until: Share of the budget before which no gain is asked for: the rate has not begun to fall.
        ranks: The processes that train together; the clock of the first one decides.

    Raises:
        KeyboardInterrupt: A signal asked to stop; the checkpoint is written.
        OSError: The last checkpoint could not be written.
    """
    run = _Run(task, budget, log, ranks, patience, patient_until)
    if budget.used(task.progress) >= 1 or run.stalled():
        return
    with _stop_signals() as stop, tqdm(bar_format="{desc}", dynamic_ncols=True, disable=not ranks.first) as bar:
        last_save = time.monotonic()
        while (decided := run.decide(time.monotonic() - last_save > 60 * checkpoint_minutes)).used < 1:
            if decided.save:
                run.checkpoint(final=False)
                last_save = time.monotonic()
                if run.stalled():
                    break
            run.step(decided.used)
            if task.progress.steps % log_steps == 0:
                run.report(bar)
            if ranks.any(stop.is_set()):
                task.save()
                raise KeyboardInterrupt("stopped; the checkpoint is written, --resume auto goes on from it")
        if run.meter.count:  # the steps since the last line
            run.report(bar)
    if not run.stalled():
        run.checkpoint(final=True)


class _Decision(NamedTuple):
    """What the first process tells the others before a step."""

    used: float
    """Share of the budget."""
    save: bool
    """Whether a checkpoint is due."""


class _Run:
    """One call of `train`."""

    def __init__(self, task: Trainee, budget: Budget, log: Log, ranks: Ranks, patience: int | None, patient_until: float) -> None:
        self.task, self.budget, self.log, self.ranks = task, budget, log, ranks
        self.patience, self.patient_until = patience, patient_until
        self.meter = Meter(task.progress)
        self.saved_at = task.progress.steps

    def stalled(self) -> bool:
        """Whether the held-out loss has stopped falling."""
        return self.patience is not None and self.task.progress.without_gain >= self.patience

    def decide(self, save: bool) -> _Decision:
        """Look at the budget and the clock, together."""
        used, due = self.ranks.agree([self.budget.used(self.task.progress), float(save)])
        return _Decision(used, bool(due) and self.task.progress.steps > self.saved_at)

    def step(self, used: float) -> None:
        """Do a step and count its time."""
        start = time.monotonic()
        self.meter.add(self.task.step(used))
        seconds = self.task.progress.seconds + time.monotonic() - start
        self.task.progress = replace(self.task.progress, seconds=seconds)

    def report(self, bar: "tqdm[NoReturn]") -> None:
        """Write a line of the log and show where the run stands."""
        numbers = self.meter.means(self.task.progress)
        if not self.ranks.first:
            return
        self.log.write(**numbers)
        used = self.budget.used(self.task.progress)
        line = progress_line(numbers, used, self.task.progress.seconds)
        bar.set_description_str(line, refresh=used < 1)  # the end shows it too

    def checkpoint(self, final: bool) -> None:
        """Measure, and save with what was measured: a run that is killed afterwards knows of it."""
        self._measure()
        try:
            self.task.save()
        except OSError as error:
            if final or error.errno != errno.ENOSPC:
                raise
            said = f"no checkpoint was written, the disk is full ({error.filename}): the one before is kept, training goes on"
            print(said, file=sys.stderr, flush=True)
        self.saved_at = self.task.progress.steps

    def _measure(self) -> None:
        """Score the held-out data and count what it says."""
        numbers, progress = self.task.evaluate(), self.task.progress
        if self.ranks.first:
            self.log.write(steps=progress.steps, tokens=progress.tokens, seconds=round(progress.seconds, 3), **numbers)
        loss, best = numbers["heldout_mean"], progress.best_loss
        if best is None or loss < best:
            self.task.progress = replace(progress, best_loss=loss, without_gain=0)
        elif self.budget.used(progress) >= self.patient_until:
            self.task.progress = replace(progress, without_gain=progress.without_gain + 1)


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
