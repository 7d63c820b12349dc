"""How fast a GPU trains the original size, where the time of a step goes, and whether its numbers are those of the CPU.

    python -m benchmarks.gpu_pretrain [--streams 128 256 384] [--precision bfloat16] [--profile] [--json FILE]

It needs nothing but this repository: text is invented (`invented_corpus`), of 793,471 words as bilm-tf had. It prints

* agreement: loss and gradients of a window on the GPU, done, recorded and replayed, against float32 on the CPU, beside the CPU's
  own bfloat16; larger errors than are allowed end it with status 1;
* for each number of streams the targets a second of one direction, over whole steps with the optimizer and the host;
* of a step, in ms: what each part takes on the device, and what the host takes to read the next window meanwhile;
* the floor: each matrix product of a step alone, at its shape, how often, and beside the recurrence's what other cuts would take;
* what is between the products alone, in GB/s, at several sizes of a program;
* with `--profile` the 25 kernels that take the longest.

`--device cpu --tiny` tries the script itself.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from benchmarks.gpu_pretrain_parts import floor, print_floor, programs, recurrence, room_of, shapes_of
from benchmarks.gpu_speed import Stopwatch, wait
from benchmarks.invented_corpus import invented_corpus
from torch import Tensor

from elmokit.config import BiLMConfig, TextConfig
from elmokit.kernels.gpu_training_lstm import GpuTrainingLstm, _Room
from elmokit.kernels.train_steps import PLAIN_STEPS
from elmokit.lm.language_model import detach
from elmokit.pretraining import pretrainer
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.options import Precision, PretrainOptions
from elmokit.pretraining.preparing import build_trainer
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import PRESETS, RECIPES, Recipe
from elmokit.training.budget import Budget
from elmokit.training.checkpoints import Checkpoints
from elmokit.training.ranks import ALONE

WARM_UP, STEPS = 6, 30
ALLOWED = {"float32": {"loss": 1e-5, "gradient": 1e-3}, "bfloat16": {"loss": 1e-4, "gradient": 1e-3}}
MORE_THAN_CPU = 3.0
"""Errors against the CPU's float32, in norms, that are always allowed; and beside, so many times the CPU's own in bfloat16."""


def trainer_of(
    corpus: Corpus, bilm: BiLMConfig, recipe: Recipe, precision: Precision, device: str, folder: str, plain: bool = False
) -> Pretrainer:
    """Build what `elmo pretrain` would train with on a GPU; on a CPU with PyTorch's operators for its kernels, or plainly."""
    options = PretrainOptions(
        train=TextSource([]),
        heldout=None,
        out=Path(folder) / "model",
        bilm=bilm,
        text=TextConfig(tokenizer="whitespace"),
        recipe=recipe,
        vocabulary_size=corpus.facts["words_of_training"],
        budget=Budget(steps=1),
        device=device,
        precision=precision,
    )
    trainer = build_trainer(options, corpus, Checkpoints(Path(folder) / "checkpoints", 1), ALONE)
    if trainer.device.type == "cpu" and not plain:
        trainer.model.bilm.read_stacks = GpuTrainingLstm(trainer.way.product_dtype, PLAIN_STEPS)
        trainer.way = replace(trainer.way, read_ahead=True)
    return trainer


def gradients(trainer: Pretrainer, times: int) -> dict[str, Tensor]:
    """Give the loss of the second window and its gradients; it is gone through so many times, from the same state."""
    first, second = (trainer._ready(ahead) for ahead in range(2))
    _, state = trainer.forward(first.batches[0], None, first.candidates)
    for _ in range(times):
        trainer.model.zero_grad()
        losses, _ = trainer.forward(second.batches[0], detach(state), second.candidates)
        torch.autograd.backward(losses.mean())
    found = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    values = {name: g.coalesce().values() if g.is_sparse else g for name, g in found.items()}
    return {"loss": losses.mean().detach().cpu(), **{name: g.float().cpu() for name, g in values.items()}}


def agreement(device: str, bilm: BiLMConfig, corpus: Corpus, recipe: Recipe, folder: str) -> dict[str, Any]:
    """Compare a window's loss and gradients on the device with those on the CPU."""
    recipe = replace(recipe, dropout=0.0)

    def of(precision: Precision, where: str, plain: bool = True) -> dict[str, Tensor]:
        return gradients(trainer_of(corpus, bilm, recipe, precision, where, folder, plain), 1 if plain else 4)

    def error(found: Tensor, right: Tensor) -> float:
        return float((found - right).norm() / right.norm().clamp(min=1e-12))

    exact, rows = of("float32", "cpu"), {}
    cpu = of("bfloat16", "cpu")
    for precision in ("float32", "bfloat16"):
        found = of(precision, device, plain=False)
        for name, right in exact.items():
            own = error(cpu[name], right) if precision == "bfloat16" else 0.0
            allowed = ALLOWED[precision]["loss" if name == "loss" else "gradient"] + MORE_THAN_CPU * own
            rows[f"{precision} {name}"] = {"error": error(found[name], right), "cpu_bfloat16": own, "allowed": allowed}
    return rows


def print_agreement(rows: dict[str, Any]) -> bool:
    """Print the worst of each precision; say whether all hold."""
    for precision in ("float32", "bfloat16"):
        of = {name: row for name, row in rows.items() if name.startswith(precision)}
        loss, name = of[f"{precision} loss"], max(of, key=lambda name: of[name]["error"] / of[name]["allowed"])
        print(
            f"agreement, {precision}: loss {loss['error']:.1e} (allowed {loss['allowed']:.1e}); of {len(of) - 1} gradients the "
            f"nearest to its bound: {name.partition(' ')[2]} {of[name]['error']:.1e} (allowed {of[name]['allowed']:.1e})"
        )
    wrong = [name for name, row in rows.items() if not row["error"] <= row["allowed"]]
    for name in wrong:
        print(f"WRONG: {name}: {rows[name]}")
    return not wrong


@contextmanager
def timed(trainer: Pretrainer) -> Iterator[dict[str, Any]]:
    """Put stopwatches at the parts of a step; those of the device do not wait for it."""
    device, model = trainer.device, trainer.model
    watches: dict[str, Any] = {}

    def at(stack: list[Any], owner: Any, attribute: str, name: str, watch: Stopwatch | None = None) -> None:
        watch = watches.setdefault(name, watch or Stopwatch(device))
        stack.append(patch.object(owner, attribute, timing(getattr(owner, attribute), watch)))

    def timing(call: Callable[..., Any], watch: Stopwatch) -> Callable[..., Any]:
        return lambda *arguments, **named: watch.time(call, *arguments, **named)

    patches: list[Any] = []
    at(patches, model.bilm.words, "forward", "words forward")
    at(patches, _Room, "read", "recurrence forward")
    at(patches, _Room, "go_back", "recurrence back")
    at(patches, model, "sampled_losses", "softmax forward")
    at(patches, torch.autograd, "backward", "back, all")
    at(patches, pretrainer, "clip_global_norm", "clip")
    for optimizer in trainer.optimizers:
        at(patches, optimizer, "step", f"optimizer {type(optimizer).__name__}")
    at(patches, trainer, "_ready", "host: next window", Stopwatch(torch.device("cpu")))
    for one in patches:
        one.start()
    try:
        yield watches
    finally:
        for one in patches:
            one.stop()


def speed(trainer: Pretrainer) -> dict[str, Any]:
    """Time whole steps, then the parts of some more."""
    device = trainer.device
    began = time.perf_counter()
    for _ in range(WARM_UP):
        trainer.step(0.5)
    wait(device)
    first = time.perf_counter() - began
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    before, began = trainer.progress.tokens, time.perf_counter()
    for _ in range(STEPS):
        trainer.step(0.5)
    wait(device)
    seconds = time.perf_counter() - began
    rate = (trainer.progress.tokens - before) / seconds
    with timed(trainer) as watches:
        launched = 0.0
        for _ in range(STEPS):
            start = time.perf_counter()
            trainer.step(0.5)
            launched += time.perf_counter() - start
        wait(device)
        parts = {name: 1e3 * watch.seconds() / STEPS for name, watch in watches.items()}
    parts["back, all but recurrence"] = parts.pop("back, all") - parts["recurrence back"]
    return {
        "streams": trainer.recipe.batch_size,
        "tokens_per_s": rate,
        "step_ms": 1e3 * seconds / STEPS,
        "warm_up_s": first,
        "parts_ms": parts,
        "step_with_stopwatches_ms": 1e3 * launched / STEPS,
        "distinct_words": len(trainer._ready(0).batches[0].chars_UW),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "kernels_used": trusted(trainer),
    }


def trusted(trainer: Pretrainer) -> bool:
    """Whether the recurrence's kernels were found right."""
    reads = trainer.model.bilm.read_stacks
    return isinstance(reads, GpuTrainingLstm) and bool(reads._trust)


def profile(trainer: Pretrainer) -> None:
    """Print what takes the longest in five steps."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    cuda = trainer.device.type == "cuda"
    if cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(5):
            trainer.step(0.5)
        wait(trainer.device)
    by = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    print(profiler.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=90))
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=90))


def print_speed(row: dict[str, Any]) -> None:
    """Print a number of streams."""
    memory = "" if row["peak_bytes"] is None else f", {row['peak_bytes'] / 2**30:.1f} GiB"
    ways = "with the kernels" if row["kernels_used"] else "THE PLAIN WAY"
    print(
        f"\n{row['streams']} streams: {row['tokens_per_s']:,.0f} tokens/s, {row['step_ms']:.1f} ms a step {ways}{memory}, "
        f"{row['distinct_words']:,} distinct words; the first {WARM_UP} steps took {row['warm_up_s']:.1f} s"
    )
    print("  of a step: " + ", ".join(f"{name} {value:.2f}" for name, value in row["parts_ms"].items()) + " ms")


def parsed() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[128, 256, 384])
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--vocabulary", type=int, default=793_471)
    parser.add_argument("--tokens", type=int, default=4_000_000)
    parser.add_argument("--skip-agreement", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try this script")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure all."""
    given = parsed()
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_pretrain: there is no CUDA device here, so there is nothing to measure")
    bilm, size = (PRESETS["tiny"], 20_000) if given.tiny else (PRESETS["original"], given.vocabulary)
    recipe = replace(RECIPES["modern"], negatives=512 if given.tiny else 8192)
    dtype = torch.bfloat16 if given.precision == "bfloat16" else torch.float32
    found: dict[str, Any] = {"torch": torch.__version__, "device": str(device)}
    if device.type == "cuda":
        print(f"{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}", flush=True)
    right = True
    with tempfile.TemporaryDirectory() as folder:
        if not given.skip_agreement:
            few = invented_corpus(20_000, 100_000)
            small = replace(recipe, batch_size=8, negatives=min(2048, recipe.negatives or 0))
            found["agreement"] = agreement(given.device, bilm, few, small, folder)
            right = print_agreement(found["agreement"])
        corpus = invented_corpus(size, given.tokens)
        found["speed"] = []
        for streams in given.streams:
            recipe = replace(recipe, batch_size=streams)
            trainer = trainer_of(corpus, bilm, recipe, given.precision, given.device, folder)
            found["speed"].append(speed(trainer))
            print_speed(found["speed"][-1])
            sys.stdout.flush()
            if given.profile and streams == given.streams[-1]:
                profile(trainer)
            del trainer
    found["products"] = floor(shapes_of(bilm, recipe, found["speed"][-1]["distinct_words"]), dtype, device)
    found["floor_ms"] = print_floor(found["products"], recipe.batch_size * recipe.window)
    room = room_of(bilm, recipe, dtype, device)
    found["recurrence"] = recurrence(room, device)
    print(f"a layer's steps, recorded: {found['recurrence']}")
    found["programs"] = programs(room, device)
    for name, numbers in found["programs"].items():
        print(f"  {name:9} " + ", ".join(f"{key} {value:,.1f}" for key, value in numbers.items()))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if not right:
        sys.exit("gpu_pretrain: the device's numbers are not those of the CPU")


if __name__ == "__main__":
    main()
