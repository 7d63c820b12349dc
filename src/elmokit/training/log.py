"""A run's numbers, one JSON object a line, and the line that a person watches."""

import json
import math
import time
from pathlib import Path
from typing import Any, Protocol

from elmokit.training.budget import Progress


class Log(Protocol):
    """Where a run's numbers go."""

    def write(self, **record: Any) -> None:
        """Take one record; `steps` says when."""


class Logs:
    """Several logs at once.

    Args:
        logs: Which all get each record.
    """

    def __init__(self, *logs: Log) -> None:
        self.logs = logs

    def write(self, **record: Any) -> None:
        """Take one record."""
        for log in self.logs:
            log.write(**record)


class JsonLog:
    """Appends records to a `.jsonl` file.

    Args:
        path: The file; records of earlier sessions are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **record: Any) -> None:
        """Append one record, with the time."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 1), **record}, ensure_ascii=False) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read what `JsonLog` wrote; of what was done twice, since an interruption lost it, the second time counts.

    A line that a full disk or a power cut has torn is left out.
    """
    records: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = dict(json.loads(line))
            now = int(record["steps"])
        except (ValueError, TypeError, KeyError):
            continue
        records = [old for old in records if old["steps"] < now or (old["steps"] == now and old.keys() != record.keys())]
        records.append(record)
    return records


class Meter:
    """Means of what each step reported, since the last look.

    Args:
        progress: Where the run stands now.
    """

    def __init__(self, progress: Progress) -> None:
        self.count = 0
        """Steps since the last look."""
        self._last = progress
        self._sums: dict[str, float] = {}

    def add(self, numbers: dict[str, float]) -> None:
        """Take one step's numbers."""
        self.count += 1
        for name, value in numbers.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def means(self, progress: Progress) -> dict[str, float]:
        """Give the means, where the run stands and its speed; start anew."""
        seconds = max(progress.seconds - self._last.seconds, 1e-9)
        numbers = {
            "steps": progress.steps,
            "tokens": progress.tokens,
            "passes": round(progress.passes, 4),
            "seconds": round(progress.seconds, 3),
            **{name: total / self.count for name, total in self._sums.items()},
            "tokens_per_second": (progress.tokens - self._last.tokens) / seconds,
        }
        self._last, self._sums, self.count = progress, {}, 0
        return numbers


def progress_line(numbers: dict[str, float], used: float, seconds: float) -> str:
    """Say in one line how far a run is, how well and how fast it learns and how long it will take."""
    minutes = int(seconds * max(0.0, 1 - used) / used / 60) if used > 0 else 0
    perplexity = math.exp(min(numbers["loss"], 50))
    return (
        f"{min(1.0, used):6.1%}  step {numbers['steps']:,}  loss {numbers['loss']:.3f}  perplexity {perplexity:,.1f}  "
        f"{numbers['tokens_per_second']:,.0f} tokens/s  {minutes // 60}:{minutes % 60:02d} h left"
    )
