"""Long documents: time per token does not depend on the length, nor does memory."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.targets.fresh import run_script
from benchmarks.targets.lines import Line
from benchmarks.targets.setting import Setting

LINEAR = 1.3
"""Times its best that a token may take at any length, the character network apart."""
FLAT = 1.1
"""Times as much memory that a document ten times as long may take."""


def linear_lines(setting: Setting) -> Iterator[Line]:
    """Give the worst time per token beside the best, for each model and number of threads, as `document_speed.py` finds it."""
    with tempfile.TemporaryDirectory() as folder:
        text, path = Path(folder) / "text.txt", Path(folder) / "speed.json"
        text.write_text("".join(" ".join(words) + "\n" for words in setting.cycle), encoding="utf-8")
        lengths = ["--lengths", *map(str, sorted(setting.lengths)), "--seconds", str(setting.seconds)]
        for name, model in (("trained", setting.trained), ("original", setting.original)):
            for threads in setting.threads:
                options = ["--models", model, "--threads", str(threads), "--text", str(text), "--json", str(path)]
                run_script("document_speed.py", *options, *lengths)
                rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
                each = (f"{row['tokens']:,}: {row['recurrence_us'] + row['rest_us']:.0f}" for row in rows)
                worst = max(row["times_best"] for row in rows)
                how = f"µs a token, words' vectors apart: {', '.join(each)}"
                what = f"{name}, float32, one document"
                yield Line(what, "× its best time a token", LINEAR, worst, threads, at_most=True, how=how)


def memory_lines(setting: Setting) -> Iterator[Line]:
    """Give the peak memory of the longest document beside that of the shortest, as `document_memory.py` finds it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.json"
        lengths = [str(tokens) for tokens in sorted(setting.memory)]
        run_script("document_memory.py", "--lengths", *lengths, "--budgets", "--json", str(path))
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["documents"]
    short, long = rows[0], rows[-1]
    name = next(name for name in ("process_mb", "resident_mb") if name in long)
    parts = ((row, row.get("anonymous_mb", row["resident_mb"])) for row in (short, long))
    how = "; ".join(f"{row['tokens']:,.0f} tokens: {row[name]:.1f} MB in all, {own:.1f} for the document" for row, own in parts)
    what = f"tiny, a document of {long['tokens']:,.0f} tokens, out="
    yield Line(what, f"× the peak at {short['tokens']:,.0f}", FLAT, long[name] / short[name], at_most=True, how=how)
