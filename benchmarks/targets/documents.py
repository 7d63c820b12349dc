"""Long documents: time per token does not depend on the length, nor does memory."""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.targets.fresh import call, run_script
from benchmarks.targets.lines import Line
from benchmarks.targets.setting import Setting

LINEAR = 1.3
"""Times its best that a token may take at any length, the character network apart."""
FLAT = 1.1
"""Times as much memory that a document ten times as long may take."""
SHORT = 5_000
"""Tokens below which a document is read more often: one reading takes too little time to be measured."""


def linear_lines(setting: Setting) -> Iterator[Line]:
    """Give the worst time per token beside the best, for each model and number of threads."""
    for name, model in (
        ("en-small" if setting.trained == "en-small" else "trained", setting.trained),
        ("original", setting.original),
    ):
        for threads in setting.threads:
            found = call(
                "documents",
                "time_lengths",
                threads,
                model=model,
                texts=setting.cycle,
                lengths=list(setting.lengths),
                repeats=setting.repeats,
            )
            each = {tokens: 1e3 * (total - words) / tokens for tokens, total, words in found}
            how = "ms a token: " + ", ".join(f"{tokens:,}: {ms:.3g}" for tokens, ms in each.items())
            worst = max(each.values()) / min(each.values())
            yield Line(f"{name}, float32, one document", "× its best time a token", LINEAR, worst, threads, at_most=True, how=how)


def time_lengths(model: str, texts: list[list[str]], lengths: list[int], repeats: int) -> list[tuple[int, float, float]]:
    """Read documents of several lengths, nothing of words remembered: (tokens, seconds, of these the character network's)."""
    import copy

    from elmokit import Elmo
    from elmokit.deploy.shares import TimedEngine
    from elmokit.kernels.engine import PREPARE_FROM

    elmo = copy.copy(Elmo.from_pretrained(model, device="cpu"))
    elmo.word_cache = 0
    elmo.engine = engine = TimedEngine(elmo.bilm, "float32")
    engine.expect(PREPARE_FROM)
    every = [word for words in texts for word in words]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for tokens in lengths:
            passes = []
            for _ in range(repeats * (5 if tokens < SHORT else 1)):
                engine.reset()
                began = time.perf_counter()
                elmo.encode_document(every[:tokens], out=Path(folder) / "vectors.npy")
                passes.append((time.perf_counter() - began, engine.words.seconds))
            found.append((tokens, *min(passes, key=lambda both: both[0] - both[1])))
    return found


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
