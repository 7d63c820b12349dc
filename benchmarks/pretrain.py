"""How fast a biLM trains, where the time of a step goes, and what the matrix products of the step alone would take.

    python -m benchmarks.pretrain TEXT [--preset small] [--threads 2 1] [--python37 PYTHON] [--json FILE]

TEXT is a text file, a line a sentence, split at white space; `.gz`, `.xz` and `.zst` are unpacked. By default as bilm-tf was
measured: its model, batch (128 × 20), negatives (8192), dropout (0.1) and Adagrad. Every measurement is a fresh process.
For each precision and number of threads a line tells

* targets a second of one direction, over the steps together (and of the fastest and the slowest step);
* the floor: the products of the step forward and back in float32, at its shapes, without the convolution, timed alone;
* the share of time in the batch's making, in the way forward, in the way back, and in clipping and the update;
* peak memory of the process;
* with `--python37`, the speed of bilm-tf itself, measured first: same text, shape, batch, negatives, dropout and threads, in an
  environment that is made at the first call and kept in `--cache`.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from benchmarks.peers.run import build

from elmokit.config import BiLMConfig, TextConfig
from elmokit.lm.language_model import lm_batch
from elmokit.pretraining.corpus import build_corpus
from elmokit.pretraining.options import Precision, PretrainOptions
from elmokit.pretraining.preparing import prepare
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import PRESETS, RECIPES, PresetName, Recipe, RecipeName
from elmokit.text.files import read_lines
from elmokit.text.vocabulary import Vocabulary
from elmokit.training.budget import Budget

WHITESPACE = TextConfig(tokenizer="whitespace")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What one process measures."""

    text: str
    work: str
    preset: PresetName
    recipe: Recipe
    vocabulary: int
    precision: Precision
    threads: int
    steps: int
    warm_up: int
    device: str


class Product(NamedTuple):
    """A matrix product (M, K) · (K, N), so many times in a step."""

    m: int
    k: int
    n: int
    times: int = 1

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * self.m * self.k * self.n * self.times


def step_products(bilm: BiLMConfig, recipe: Recipe, vocabulary: int, words: int) -> list[Product]:
    """All products of a step: forward, back to the inputs, and of the weights' gradients.

    Args:
        bilm: The shape.
        recipe: Its rows and window.
        vocabulary: V, for the full softmax.
        words: Distinct words of the window.
    """
    rows, steps = recipe.batch_size, recipe.window
    width, cells, targets = bilm.output_dim, bilm.cell_dim, rows * steps
    found: list[Product] = []

    def trained(m: int, k: int, n: int) -> None:
        found.extend((Product(m, k, n), Product(m, n, k), Product(k, m, n)))

    if bilm.char_cnn is not None:
        features = bilm.char_cnn.features
        for _ in range(bilm.char_cnn.highways):
            trained(words, features, 2 * features)
        trained(words, features, width)
    for _ in range(2 * bilm.layers):
        trained(targets, width, 4 * cells)
        for k, n in ((width, 4 * cells), *([(cells, width)] if bilm.projection_dim else [])):
            found.extend((Product(rows, k, n, steps), Product(rows, n, k, steps), Product(k, targets, n)))
    scored = min(recipe.negatives or vocabulary, vocabulary)
    for _ in range(2):
        trained(targets, width, scored)
    return found


def floor_seconds(products: list[Product], device: str, repeats: int = 3) -> float:
    """How long the products take, one after the other; the best of some passes."""
    matrices = [(torch.randn(p.m, p.k, device=device), torch.randn(p.k, p.n, device=device)) for p in products]
    results = [torch.empty(p.m, p.n, device=device) for p in products]
    best = float("inf")
    for _ in range(repeats):
        began = _now(device)
        for product, (a, b), out in zip(products, matrices, results, strict=True):
            for _ in range(product.times):
                torch.mm(a, b, out=out)
        best = min(best, _now(device) - began)
    return best


def measure(setting: Setting) -> dict[str, Any]:
    """Train some steps and time them; this runs in a process of its own."""
    torch.set_num_threads(setting.threads)
    trainer = _trainer(setting)
    for _ in range(setting.warm_up):
        trainer.step(0.5)
    seconds = []
    before = trainer.progress.tokens
    for _ in range(setting.steps):
        began = _now(setting.device)
        trainer.step(0.5)
        seconds.append(_now(setting.device) - began)
    targets = (trainer.progress.tokens - before) / setting.steps
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if setting.device != "cpu":
        memory = torch.cuda.max_memory_allocated()
    shares, words = _parts(trainer, setting)
    products = step_products(trainer.model.bilm.config, setting.recipe, trainer.vocabulary_size, words)
    floor = floor_seconds(products, setting.device)
    rate = targets * setting.steps / sum(seconds)
    return {
        "preset": setting.preset,
        "precision": setting.precision,
        "threads": setting.threads,
        "vocabulary": trainer.vocabulary_size,
        "negatives": setting.recipe.negatives,
        "distinct_words": words,
        "tokens_per_s": rate,
        "slowest_tokens_per_s": targets / max(seconds),
        "fastest_tokens_per_s": targets / min(seconds),
        "floor_tokens_per_s": targets / floor,
        "of_floor": rate * floor / targets,
        "floor_gflop": sum(product.operations for product in products) / 1e9,
        "parts": shares,
        "peak_bytes": memory,
    }


def _trainer(setting: Setting) -> Pretrainer:
    """The trainer that `elmo pretrain` would have."""
    options = PretrainOptions(
        train=TextSource([setting.text]),
        heldout=None,
        out=Path(setting.work) / "model",
        bilm=PRESETS[setting.preset],
        text=WHITESPACE,
        recipe=setting.recipe,
        vocabulary_size=setting.vocabulary,
        budget=Budget(steps=1),
        device=setting.device,
        precision=setting.precision,
        resume="never",
    )
    return prepare(options)


def _parts(trainer: Pretrainer, setting: Setting, steps: int = 5) -> tuple[dict[str, float], int]:
    """The share of each part of a step's time, and the distinct words of a window."""
    model, size, device = trainer.model, trainer.vocabulary_size, setting.device
    times = dict.fromkeys(("batch", "words", "layers and losses", "back"), 0.0)
    words = 0
    for _ in range(steps):
        began = _now(device)
        batch = lm_batch(next(trainer.streams), trainer.corpus.characters, size, device)
        times["batch"] += _now(device) - began
        began = _now(device)
        with torch.autocast(trainer.device.type, torch.bfloat16, trainer.way.product_dtype == torch.bfloat16):
            x_UP = model.bilm.words(batch.chars_UW)
        times["words"] += _now(device) - began
        del x_UP
        began = _now(device)
        losses, _ = trainer.forward(batch, trainer.lstm_states[0], trainer.candidates())
        times["layers and losses"] += _now(device) - began
        began = _now(device)
        torch.autograd.backward(losses.mean())
        times["back"] += _now(device) - began
        for optimizer in trainer.optimizers:
            optimizer.zero_grad(set_to_none=True)
        words += len(batch.chars_UW)
    times["layers and losses"] -= times["words"]
    return {name: value / steps for name, value in times.items()}, words // steps


def bilm_tf(python37: str, cache: Path, text: Path, preset: PresetName, recipe: Recipe, threads: int) -> dict[str, Any]:
    """Measure bilm-tf with every word of the text as its vocabulary.

    Raises:
        LeftOutError: Its environment cannot be made here.
    """
    requirements = Path(__file__).with_name("peers") / "bilm_tf.txt"
    folder = cache / "environments" / "bilm_tf"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        build(python37, folder, python, [["--no-deps", "-r", str(requirements)]])
        (folder / "ready").touch()
    bilm = PRESETS[preset]
    cnn = bilm.byte_cnn
    options = {
        "bidirectional": True,
        "char_cnn": {
            "activation": cnn.activation,
            "embedding": {"dim": cnn.embedding_dim},
            "filters": cnn.filters,
            "max_characters_per_token": cnn.max_characters,
            "n_characters": cnn.characters,
            "n_highway": cnn.highways,
        },
        "lstm": {
            "cell_clip": bilm.cell_clip,
            "proj_clip": bilm.projection_clip,
            "dim": bilm.cell_dim,
            "projection_dim": bilm.projection_dim,
            "n_layers": bilm.layers,
            "use_skip_connections": bilm.skip_connections,
        },
        "dropout": recipe.dropout,
        "all_clip_norm_val": recipe.clip_norm,
        "batch_size": recipe.batch_size,
        "unroll_steps": recipe.window,
        "n_negative_samples_batch": recipe.negatives,
    }
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        counts: Counter[str] = Counter()
        with (work / "text").open("w", encoding="utf-8") as plain:
            for line in read_lines(text):
                counts.update(line.split())
                plain.write(line + "\n")
        Vocabulary.from_counts(counts).save(work / "vocabulary")
        job = {"text": f"{work}/text", "vocabulary": f"{work}/vocabulary", "options": options, "steps": 8, "threads": threads}
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        script = Path(__file__).with_name("peers") / "bilm_tf.py"
        command = [str(python), str(script), f"{work}/job.json", f"{work}/answer.json"]
        subprocess.run(command, check=True, capture_output=True)
        answer = json.loads((work / "answer.json").read_text(encoding="utf-8"))
    return {"peer": "bilm-tf", "preset": preset, "threads": threads, **answer}


def _now(device: str) -> float:
    """The time when all work given to the device is done."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def _line(row: dict[str, Any]) -> str:
    """A measurement for people."""
    parts = ", ".join(f"{name} {1000 * value:,.0f} ms" for name, value in row["parts"].items())
    return (
        f"{row['preset']}, {row['precision']}, {row['threads']} thread(s), vocabulary {row['vocabulary']:,}: "
        f"{row['tokens_per_s']:,.0f} tokens/s ({row['slowest_tokens_per_s']:,.0f} to {row['fastest_tokens_per_s']:,.0f}); "
        f"{row['of_floor']:.2f} of the float32 floor {row['floor_tokens_per_s']:,.0f} ({row['floor_gflop']:.0f} GFLOP a step); "
        f"{row['peak_bytes'] / 2**30:.2f} GiB\n    of a step: {parts}; {row['distinct_words']:,} distinct words"
    )


def main() -> None:
    """Measure what is asked for, each in a process of its own."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--preset", choices=get_args(PresetName), default="small")
    parser.add_argument("--recipe", choices=get_args(RecipeName), default="reference")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--window", type=int, default=20)
    parser.add_argument("--negatives", type=int, default=8192)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[10_002])
    parser.add_argument("--precision", choices=get_args(Precision), nargs="+", default=list(get_args(Precision)))
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--python37", help="a Python 3.7, for bilm-tf beside")
    parser.add_argument("--cache", type=Path, default=home / "elmokit-peers", help="for the environment of bilm-tf")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    recipe = replace(
        RECIPES[given.recipe],
        batch_size=given.batch,
        window=given.window,
        negatives=given.negatives,
        dropout=given.dropout,
    )
    rows = []
    with tempfile.TemporaryDirectory() as work:
        build_corpus(TextSource([given.text]), None, Path(work) / "model.training" / "corpus", WHITESPACE, 50)
        for threads in given.threads:
            if given.python37:
                rows.append(bilm_tf(given.python37, given.cache, Path(given.text), given.preset, recipe, threads))
                print(f"bilm-tf, {threads} thread(s): {rows[-1]['tokens_per_s']:,.0f} tokens/s", flush=True)
            for vocabulary in given.vocabulary:
                for precision in given.precision:
                    setting = Setting(
                        text=given.text,
                        work=work,
                        preset=given.preset,
                        recipe=recipe,
                        vocabulary=vocabulary,
                        precision=precision,
                        threads=threads,
                        steps=given.steps,
                        warm_up=given.warm_up,
                        device=given.device,
                    )
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        rows.append(pool.apply(measure, (setting,)))
                    print(_line(rows[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
