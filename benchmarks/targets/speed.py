"""Speed: beside the float32 floor of the same process, and beside what a user would otherwise pick."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from benchmarks.peers.run import ALLENNLP, ONE_BY_ONE
from benchmarks.targets.lines import Line
from benchmarks.targets.setting import Setting

from elmokit.deploy.bench import Found, in_fresh_process
from elmokit.deploy.measure import Job


class Goal(NamedTuple):
    """What one way of running is to reach."""

    size: str
    precision: Any
    way: str
    """"batch" or "single"."""
    of_floor: float
    """Of the float32 floor of the same run."""
    of_allennlp: float | None
    """Times AllenNLP's tokens/s."""


ORIGINAL = (
    Goal("original", "float32", "batch", 0.80, 5),
    Goal("original", "float32", "single", 0.75, 5),
    Goal("original", "bfloat16", "batch", 0.96, 6),
    Goal("original", "int8", "batch", 2.2, 14),
    Goal("original", "int8", "single", 4, 25),
)
SMALL = (Goal("small", "float32", "batch", 0.75, 8), Goal("small", "int8", "batch", 1.1, 12))
USUAL = (("original", "bert", 4.0), ("small", "minilm", 2.0))
"""Our int8 in batches, the peer, and how many times its words/s."""
PREPARING = 1.5
"""Seconds that preparing the weights of the original size may take."""


class Speeds:
    """Measures when asked, and each thing once.

    Args:
        setting: With what.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.texts = [" ".join(words) for words in setting.sentences]
        if [text.split() for text in self.texts] != setting.sentences:
            raise ValueError(f"{setting.text}: a word of it holds white space, so that it cannot be written as a line")
        self.of = cache(self._measure)
        """(size, precision, threads) → one `elmokit.deploy.measure.measure` for each process."""

    def _measure(self, size: str, precision: Any, threads: int) -> list[Found]:
        """Measure in fresh processes, a cold pass in each."""
        model = {"original": self.setting.original, "small": self.setting.small}[size]
        job = Job(model, precision, self.texts, threads, "whitespace", "cpu", ONE_BY_ONE, repeats=1, shares=False)
        return [in_fresh_process(job) for _ in range(self.setting.repeats)]

    def against_floor(self, goals: Sequence[Goal]) -> Iterator[Line]:
        """Give a line for each goal, number of threads and way of stating it."""
        for goal in goals:
            for threads in self.setting.threads:
                yield from self._lines(goal, threads)

    def _lines(self, goal: Goal, threads: int) -> Iterator[Line]:
        """State one goal both ways; AllenNLP only where it was measured."""
        runs = [found[goal.way] for found in self.of(goal.size, goal.precision, threads)]
        seconds, floor_s = min(best(runs, "pass_s")), min(best(runs, "float32_floor_s"))
        tokens = runs[0]["tokens"]
        what, how = f"{goal.size}, {goal.precision}, {goal.way}", speeds(runs)
        floor = f"{how}; floor {tokens / floor_s:,.0f}"
        yield Line(what, "× the float32 floor", goal.of_floor, floor_s / seconds, threads, how=floor)
        theirs = self._peer(ALLENNLP, goal.size, goal.way, threads)
        if goal.of_allennlp is not None and theirs:
            yield Line(
                what, "× AllenNLP", goal.of_allennlp, tokens / seconds / theirs, threads, how=f"{how}; AllenNLP {theirs:,.0f}"
            )

    def preparing(self) -> Iterator[Line]:
        """How long the weights of the original size take to prepare."""
        for precision in dict.fromkeys(goal.precision for goal in ORIGINAL):
            for threads in self.setting.threads:
                seconds = [found["prepare_s"] for found in self.of("original", precision, threads)]
                yield Line(
                    f"original, {precision}, preparing", "s", PREPARING, min(seconds), threads, at_most=True, how=spread(seconds)
                )

    def against_usual(self) -> Iterator[Line]:
        """Give lines for what a user would otherwise pick."""
        for size, peer, target in USUAL:
            for threads in self.setting.threads:
                theirs = self._peer([peer], None, "batch", threads)
                what, unit = f"{size}, int8, batch", f"× {peer}, words/s"
                if not theirs:
                    yield Line(
                        what, unit, target, None, threads, how=f"give --peers of `benchmarks/peers/run.py {peer}`, or --run-peers"
                    )
                    continue
                runs = [found["batch"] for found in self.of(size, "int8", threads)]
                ours = max(run["tokens_per_s"] for run in runs)
                yield Line(what, unit, target, ours / theirs, threads, how=f"{speeds(runs)}; {peer} {theirs:,.0f}")

    def _peer(self, names: Sequence[str], model: str | None, mode: str, threads: int) -> float | None:
        """The fastest that was measured of some peers, words/s; None if none was."""
        return max(
            (
                row["tokens_per_s"]
                for row in self.setting.peers
                if row["peer"] in names and (row["mode"], row["threads"]) == (mode, threads) and model in (None, row["model"])
            ),
            default=None,
        )


def best(runs: Sequence[dict[str, Any]], name: str) -> list[float]:
    """The seconds of all passes of all processes."""
    return [seconds for run in runs for seconds in run[name]]


def speeds(runs: Sequence[dict[str, Any]]) -> str:
    """The best speed, and the slowest."""
    found = sorted(run["tokens_per_s"] for run in runs)
    return f"{found[-1]:,.0f} tokens/s" + (f" (from {found[0]:,.0f})" if len(found) > 1 else "")


def spread(values: Sequence[float]) -> str:
    """The range of some figures."""
    return f"{min(values):.2f} to {max(values):.2f}" if len(values) > 1 else ""
