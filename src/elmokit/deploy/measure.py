"""One measurement, in a process of its own: `python -m elmokit.deploy.measure`, a `Job` as JSON in, what it found as JSON out.

A fresh process, so that imports, loading, preparing the weights and peak memory are those of a user's program. The text is
run as a whole, and its first sentences one at a time, from strings to vectors. Every pass begins with an empty memory of word
vectors; one sentence leaves its words to the next. torch is imported by `main` and nowhere above, since that is timed.
"""

import copy
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from elmokit.deploy.floor import Floor
    from elmokit.embedding.elmo import Elmo
    from elmokit.kernels.engine import Engine
    from elmokit.kernels.products import Precision


@dataclass(frozen=True)
class Job:
    """What to measure."""

    model: str
    """A name, or a path of any known format."""
    precision: "Precision"
    """Of the arithmetic."""
    texts: Sequence[str]
    """The sentences."""
    threads: int | None = None
    """PyTorch's; None for what it takes by itself."""
    tokenizer: str | None = None
    """What splits the sentences into words; None for the model's."""
    device: str = "auto"
    """As `Elmo.from_pretrained` takes it."""
    single: int = 200
    """So many sentences are also run one at a time."""
    repeats: int = 3
    """Passes over the text, and over its products, of which the best one counts."""
    shares: bool = True
    """Whether to find out where the time goes, in one pass more."""


def main() -> int:
    """Measure what the standard input asks for; a user's mistake comes back as `{"error": …}`."""
    job = Job(**json.load(sys.stdin))
    began = time.perf_counter()
    import torch

    torch_s = time.perf_counter() - began
    began = time.perf_counter()
    importlib.import_module("elmokit.embedding.elmo")
    elmokit_s = time.perf_counter() - began
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    try:
        print(json.dumps({"torch_s": torch_s, "elmokit_s": elmokit_s} | measure(job)))
    except ValueError as error:
        print(json.dumps({"error": str(error)}))
    return 0


def measure(job: Job) -> dict[str, Any]:
    """Load a model and run a text through it, again and again.

    Returns:
        What `elmo bench --json` writes for one precision and number of threads: seconds end in `_s`, megabytes in `_mb`.

    Raises:
        ValueError: The model, the precision, the device or the tokenizer cannot be had; the text has no words.
    """
    import torch

    from elmokit.embedding.elmo import Elmo
    from elmokit.kernels.engine import PREPARE_FROM
    from elmokit.text.tokenizers import get_tokenizer

    began = time.perf_counter()
    elmo = Elmo.from_pretrained(job.model, device=job.device, precision=job.precision)
    found: dict[str, Any] = {"precision": job.precision, "threads": torch.get_num_threads(), "device": str(elmo.device)}
    found["load_s"] = time.perf_counter() - began
    tokenize = get_tokenizer(job.tokenizer or elmo.config.text.tokenizer)
    texts = [text for text in job.texts if tokenize(text)]
    if not texts:
        raise ValueError("the text has no words: name another one with --text")

    def run(engine: "Engine", calls: Sequence[Sequence[str]]) -> list[float]:
        """Seconds of each call, from strings to vectors; no word is known before the first."""
        cold, seconds = _with_engine(elmo, engine), []
        for texts in calls:
            began = time.perf_counter()
            cold.encode_tokens([[token.text for token in tokenize(text)] for text in texts])
            seconds.append(time.perf_counter() - began)
        return seconds

    [found["first_s"]] = run(elmo.engine, [texts[:1]])
    elmo.engine.expect(PREPARE_FROM)
    found["prepare_s"] = elmo.engine.preparing_s
    tokens = [len(tokenize(text)) for text in texts]
    ways = {
        "batch": Way(tokens, lambda engine: run(engine, [texts])),
        "single": Way(tokens[: job.single], lambda engine: run(engine, [[text] for text in texts[: job.single]])),
    }
    for way in ways.values():
        way.passes.append(way.run(elmo.engine))
    found |= peak_memory(elmo.device)  # before anything is measured that no user would do
    _prepare_floors(elmo, list(ways.values()), job.precision)
    for number in range(job.repeats):
        for way in ways.values():
            way.repeat(None if number == 0 else elmo.engine)
    if job.shares:
        _add_shares(elmo, list(ways.values()), job.precision)
    return found | {name: way.report(job.precision) for name, way in ways.items()}


class Way:
    """A way of running the text, and what it took.

    Args:
        tokens: Words of each sentence.
        run: Makes a pass; gives the seconds of each call.
    """

    def __init__(self, tokens: Sequence[int], run: "Callable[[Engine], list[float]]") -> None:
        self.sentences, self.tokens = len(tokens), sum(tokens)
        self.run = run
        self.passes: list[list[float]] = []
        self.gflop: float | None = None
        """Of the products of a pass."""
        self.floors: dict[str, Floor] = {}
        """The same products, by precision."""
        self.floor_s: dict[str, list[float]] = {}
        self.shares: dict[str, float] | None = None

    def repeat(self, engine: "Engine | None") -> None:
        """Make a pass, if there is an engine for it, and one of each floor."""
        if engine is not None:
            self.passes.append(self.run(engine))
        for precision, floor in self.floors.items():
            self.floor_s.setdefault(precision, []).append(floor.seconds())

    def report(self, precision: str) -> dict[str, Any]:
        """Tell what the best pass took, beside the best of each floor."""
        import numpy as np

        best = min(self.passes, key=sum)
        seconds = sum(best)
        floors = {"floor": self.floor_s.get(precision), "float32_floor": self.floor_s.get("float32")}
        return {
            "sentences": self.sentences,
            "tokens": self.tokens,
            "tokens_per_s": self.tokens / seconds,
            "call_median_ms": 1e3 * float(np.median(best)),
            "call_p99_ms": 1e3 * float(np.percentile(best, 99)),
            "pass_s": [sum(calls) for calls in self.passes],
            **{f"{name}_s": passes for name, passes in floors.items()},
            **{f"of_{name}": passes and min(passes) / seconds for name, passes in floors.items()},
            "gflop": self.gflop,
            "shares": self.shares,
        }


def _with_engine(elmo: "Elmo", engine: "Engine") -> "Elmo":
    """Give the same model with something else that runs it, which remembers no words."""
    from elmokit.embedding.words import WordVectors

    other = copy.copy(elmo)
    other.word_vectors = WordVectors(engine, elmo.reader, elmo.word_cache)
    return other


def _prepare_floors(elmo: "Elmo", ways: Sequence[Way], precision: "Precision") -> None:
    """Note the products that each way performs, in the precision of the run and in float32, and prepare them."""
    from elmokit.deploy.floor import Floor, Notebook, make_products

    if elmo.device.type != "cpu":
        return
    wanted: tuple[Precision, Precision] = (precision, "float32")
    for each in dict.fromkeys(wanted):
        notebook = Notebook(elmo.bilm, each)  # one for each: which threads make what depends on the precision
        products = make_products(notebook.matrices, each)
        for way in ways:
            way.run(notebook.engine)
            calls = notebook.take()
            way.gflop = notebook.flop(calls) / 1e9
            way.floors[each] = Floor(calls, notebook.matrices, products)


def _add_shares(elmo: "Elmo", ways: Sequence[Way], precision: "Precision") -> None:
    """Find out where the time goes, in a pass of its own."""
    from elmokit.deploy.shares import TimedEngine
    from elmokit.kernels.engine import PREPARE_FROM

    engine = TimedEngine(elmo.bilm, precision)
    engine.expect(PREPARE_FROM)
    for way in ways:
        engine.reset()
        way.shares = engine.shares(sum(way.run(engine)))


def peak_memory(device: "torch.device") -> dict[str, float | None]:
    """Tell how much memory this process has had at most, in MB; None where the system does not say."""
    from elmokit.training.memory import device_peak_bytes, peak_bytes

    found = {"peak_mb": peak_bytes(), "device_peak_mb": device_peak_bytes(device)}
    return {name: None if size is None else size / 1e6 for name, size in found.items()}


if __name__ == "__main__":
    sys.exit(main())
