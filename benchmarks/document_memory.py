"""Peak memory against the length of a document, and against the budget of a batch.

    python benchmarks/document_memory.py [--lengths 1000 … 1000000] [--document words|sentences|text] [--budgets 512 … 65536]
        [--model en-small] [--json memory.json] [--plot memory.png]

The first table: `encode_document(document, out="….npy")` with a tiny model, since what grows with a document grows with
any model. The second: `encode_tokens` of the same 70,000 tokens with each `batch_tokens`, at `--model`. Each row is a
process of its own. MB are megabytes above what stood in memory just before the call: the interpreter, the model and the
document. "anonymous" is what the process itself holds, "resident" counts the pages of files too which it has mapped.
Linux tells these apart (sampled 200 times a second) and forgets an old peak when asked; elsewhere there is one number,
the process's largest resident size from its beginning, and the difference is to that of the call before.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from elmokit import Elmo, ElmoConfig
from elmokit.config import BiLMConfig, CharCnnConfig

TINY = ElmoConfig(
    bilm=BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 16), (2, 16), (3, 32)), highways=1), cell_dim=32, projection_dim=16)
)
LENGTHS = [1_000, 10_000, 100_000, 1_000_000]
BUDGETS = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
BATCH_TEXT = 70_000
WORDS = 5_000
MB = 1 << 20
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
Document = str | list[str] | list[list[str]]


def sentences_of(tokens: int) -> list[list[str]]:
    """Sentences of 1 to 40 words; each word is one object, however often it stands there."""
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 12))) for _ in range(WORDS)]
    weights = [1 / (rank + 1) for rank in range(WORDS)]
    sentences = []
    while tokens:
        length = min(tokens, draw.randint(1, 40))
        sentences.append(draw.choices(words, weights, k=length))
        tokens -= length
    return sentences


def document_of(kind: str, tokens: int) -> Document:
    """About so many tokens, in one of the forms that a document may have."""
    sentences = sentences_of(tokens)
    if kind == "sentences":
        return sentences
    if kind == "words":
        return [word for sentence in sentences for word in sentence]
    return " ".join(" ".join(sentence).capitalize() + "." for sentence in sentences)


def memory_now() -> dict[str, int]:
    """Bytes that the process has: resident, the highest that was, and of it what is no file's; on Linux."""
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    return {name: int(fields[key].split()[0]) * 1024 for name, key in (("peak", "VmHWM"), ("anonymous", "RssAnon"))}


def largest_resident() -> int:
    """What the system counts as this process's largest resident size, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform != "darwin" else 1)


@contextmanager
def watched(found: dict[str, float]) -> Iterator[None]:
    """Put into `found` how far memory rises above its level at the beginning of the block, in MB."""
    if not STATUS.exists():
        before = largest_resident()
        yield
        found["resident_mb"] = (largest_resident() - before) / MB
        return
    CLEAR_REFS.write_text("5")  # the highest that was is that of now
    before_all, highest, stop = memory_now(), 0, threading.Event()

    def sample() -> None:
        nonlocal highest
        while not stop.wait(0.005):
            highest = max(highest, memory_now()["anonymous"])

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    found["resident_mb"] = (memory_now()["peak"] - before_all["peak"]) / MB
    found["anonymous_mb"] = max(0, highest - before_all["anonymous"]) / MB
    found["process_mb"] = largest_resident() / MB


def measure_document(kind: str, tokens: int) -> dict[str, float]:
    """Embed one document into a file, in this process."""
    elmo = Elmo.from_config(TINY)
    document = document_of(kind, tokens)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        # What is loaded and prepared once is no part of it.
        elmo.encode_document(sentences_of(100), out=Path(folder) / "warm.npy")
        began = time.perf_counter()
        with watched(found):
            vectors = elmo.encode_document(document, out=Path(folder) / "vectors.npy")
        found |= {"tokens": len(vectors), "file_mb": vectors.nbytes / MB, "seconds": time.perf_counter() - began}
    return found


def measure_batches(model: str, budget: int) -> dict[str, float]:
    """Embed the same sentences with one budget, in this process."""
    elmo = Elmo.from_pretrained(model, device="cpu")
    sentences = sentences_of(BATCH_TEXT)
    elmo.encode_tokens(sentences_of(100))
    found: dict[str, float] = {"batch_tokens": budget}
    began = time.perf_counter()
    with watched(found):
        elmo.encode_tokens(sentences, batch_tokens=budget)
    found["seconds"] = time.perf_counter() - began
    return found


def apart(*arguments: Any) -> dict[str, float]:
    """Let a process of its own measure."""
    command = [sys.executable, __file__, "--measure", *map(str, arguments)]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert isinstance(answer, dict)
    return answer


def table(rows: Iterator[dict[str, float]], first: str) -> list[dict[str, float]]:
    """Print measurements as they come."""
    done: list[dict[str, float]] = []
    for row in rows:
        columns = [first, *sorted(set(row) - {first})]
        if not done:
            print("".join(f"{name:>15}" for name in columns))
        print("".join(f"{row[name]:15,.0f}" if name == first else f"{row[name]:15,.1f}" for name in columns), flush=True)
        done.append(row)
    return done


def draw(path: Path, documents: list[dict[str, float]], batches: list[dict[str, float]]) -> None:
    """Draw both tables."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = (
        (documents, "tokens", 'encode_document(out="….npy"), tiny model'),
        (batches, "batch_tokens", "encode_tokens, by batch_tokens"),
    )
    for axes, (rows, across, title) in zip(figure.subplots(1, 2), panels, strict=True):
        for name, label in (("resident_mb", "resident"), ("anonymous_mb", "anonymous"), ("file_mb", "the vectors' file")):
            points = [(row[across], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=label)
        axes.set(title=title, xlabel=across, ylabel="MB above the level before the call", xscale="log", ylim=(0, None))
        axes.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS)
    parser.add_argument("--document", choices=("words", "sentences", "text"), default="sentences")
    parser.add_argument("--budgets", type=int, nargs="*", default=BUDGETS)
    parser.add_argument("--model", default="en-small", help="of the second table")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measures: dict[str, Callable[[str, int], dict[str, float]]] = {"document": measure_document, "batches": measure_batches}
    if options.measure:
        what, which, size = options.measure
        print(json.dumps(measures[what](which, int(size))))
        return
    documents = table((apart("document", options.document, n) for n in options.lengths), "tokens")
    batches = table((apart("batches", options.model, n) for n in options.budgets), "batch_tokens")
    if options.json:
        options.json.write_text(json.dumps({"documents": documents, "batches": batches}, indent=1) + "\n")
    if options.plot:
        draw(options.plot, documents, batches)


if __name__ == "__main__":
    main()
