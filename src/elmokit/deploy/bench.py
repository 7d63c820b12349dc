"""Speed on this machine, for each precision and number of threads: measured one after the other, each in a fresh process.

Nothing here imports torch, so that the processes that measure have the machine to themselves.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from elmokit.deploy.measure import Job
from elmokit.report.bars import Bar, Panel, draw_bars

Found = dict[str, Any]
"""What `elmokit.deploy.measure.measure` gives."""

PARTS = {"char_cnn": "character network", "recurrence": "recurrence", "rest": "rest"}


def in_fresh_process(job: Job) -> Found:
    """Measure in a new process.

    Raises:
        ValueError: The job cannot be done; says why.
    """
    threads = {} if job.threads is None else {"OMP_NUM_THREADS": str(job.threads)}
    done = subprocess.run(
        [sys.executable, "-m", "elmokit.deploy.measure"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **threads},
    )
    if done.returncode < 0 or "MemoryError" in done.stderr:
        raise ValueError(f"measuring {job.precision} was ended by the system, as when memory is short: take fewer --sentences")
    if done.returncode:
        raise RuntimeError(f"measuring {job.precision} failed:\n{done.stderr}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise ValueError(found["error"])
    return found


def machine() -> dict[str, Any]:
    """What it was measured on, with what, and when."""
    return {
        "date": date.today().isoformat(),
        "elmokit": version("elmokit"),
        "torch": version("torch"),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine()])[0]


def tables(found: Sequence[Found]) -> str:
    """Lay out what was measured in lines of text: three tables, a line in each for each precision and number of threads."""
    batch, single = found[0]["batch"], found[0]["single"]
    names, speed = ["precision", "threads"], ["tokens/s", "of its floor", "of float32's", "words", "LSTM", "rest"]
    return "\n\n".join(
        [
            _table(
                f"all {batch['sentences']:,} sentences at once", [*names, *speed], [_speeds(one["batch"]) for one in found], found
            ),
            _table(
                f"the first {single['sentences']:,}, one at a time",
                [*names, *speed, "median ms", "99 % ms"],
                [
                    [*_speeds(one["single"]), f"{one['single']['call_median_ms']:.1f}", f"{one['single']['call_p99_ms']:.1f}"]
                    for one in found
                ],
                found,
            ),
            _table(
                "start and memory",
                [*names, "import torch s", "elmokit s", "load s", "prepare s", "peak MB"],
                [_start(one) for one in found],
                found,
            ),
        ]
    )


def _table(title: str, heads: Sequence[str], cells: Sequence[Sequence[str]], found: Sequence[Found]) -> str:
    """Lay out rows, each behind its precision and number of threads."""
    rows = [heads, *([one["precision"], str(one["threads"]), *row] for one, row in zip(found, cells, strict=True))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([title, *lines])


def _speeds(way: Mapping[str, Any]) -> list[str]:
    """Speed, beside both floors, and where the time goes."""
    shares = way["shares"] or dict.fromkeys(PARTS)
    floors = [_number(way[floor], ".2f") for floor in ("of_floor", "of_float32_floor")]
    return [f"{way['tokens_per_s']:,.0f}", *floors, *(_number(share, ".0%") for share in shares.values())]


def _start(one: Found) -> list[str]:
    """What comes before the first vector, and memory."""
    seconds = [f"{one[name]:.2f}" for name in ("torch_s", "elmokit_s", "load_s", "prepare_s")]
    return [*seconds, _number(one["peak_mb"], ",.0f")]


def _number(value: float | None, how: str) -> str:
    """A number that may be missing."""
    return "-" if value is None else format(value, how)


def draw(path: Path, title: str, found: Sequence[Found]) -> None:
    """Draw speeds beside their floors, and where the time goes, into a file .png, .svg or .pdf."""
    ways = {"batch": "all sentences at once, tokens/s", "single": "one sentence at a time, tokens/s"}
    speeds = [
        Panel(title, [_speed(one, one[way]) for one in found], "the matrix products alone, in that precision")
        for way, title in ways.items()
    ]
    shares = [
        Panel(f"share of the time, %: {title.split(',')[0]}", bars)
        for way, title in ways.items()
        if (bars := [Bar(_label(one), _parts(one[way]["shares"])) for one in found if one[way]["shares"]])
    ]
    draw_bars(path, title, [*speeds, *shares])


def _speed(found: Found, way: Mapping[str, Any]) -> Bar:
    """Tokens a second, and those that the floor would allow."""
    speed = way["tokens_per_s"]
    if way["of_floor"] is None:
        return Bar(_label(found), {"tokens/s": speed}, text=f"{speed:,.0f}")
    floor = speed / way["of_floor"]
    return Bar(_label(found), {"tokens/s": speed}, floor, f"{speed:,.0f} of {floor:,.0f}")


def _parts(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares as they are drawn."""
    return {PARTS[name]: 100 * share for name, share in shares.items()}


def _label(found: Found) -> str:
    """What stands beside a bar."""
    return f"{found['precision']}, {found['threads']} thread{'s' * (found['threads'] > 1)}"
