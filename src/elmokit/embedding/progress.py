"""How far a job is: a bar while it runs, one line when it is done, both on standard error."""

import sys
import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

from tqdm import tqdm


class Step(NamedTuple):
    """Some texts more."""

    texts: int
    """How many."""
    tokens: int
    """Their tokens."""
    asked: int
    """Distinct words of their batches."""
    hits: int
    """Those of them whose vectors were remembered."""
    preparing_s: float
    """Seconds that preparing the weights has taken so far, where these texts were computed."""


class Progress:
    """Counts steps, from any thread.

    Args:
        texts: Of the whole input; None: nobody knows.
        shown: Whether there is a bar, and the line at the end; None: on a terminal.
    """

    def __init__(self, texts: int | None, shown: bool | None) -> None:
        self.shown = sys.stderr.isatty() if shown is None else shown
        self.bar = tqdm(total=texts, unit=" texts", disable=not self.shown)
        self.total = Step(0, 0, 0, 0, 0.0)
        """What has been done."""
        self._began = time.perf_counter()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.close()
        if error is None and self.shown and self.total.tokens:
            print(self.summary(), file=sys.stderr)

    def advance(self, step: Step) -> None:
        """Count some texts more."""
        with self._lock:
            done = self.total
            self.total = Step(
                done.texts + step.texts,
                done.tokens + step.tokens,
                done.asked + step.asked,
                done.hits + step.hits,
                max(done.preparing_s, step.preparing_s),
            )
            self.bar.set_postfix(tokens=self.total.tokens, refresh=False)
            self.bar.update(step.texts)

    def summary(self) -> str:
        """Say in one line how much was done how fast."""
        done, seconds = self.total, time.perf_counter() - self._began
        return (
            f"elmo: {done.tokens:,} tokens in {seconds:,.1f} s, {done.tokens / seconds:,.0f} tokens/s; "
            f"{done.hits / max(done.asked, 1):.0%} of the distinct words of each batch were remembered, "
            f"preparing the weights took {done.preparing_s:.2f} s"
        )
