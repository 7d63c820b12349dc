"""How fast the original model runs on a GPU, where the time goes, and whether the numbers are right.

    python benchmarks/gpu_speed.py [--tokens 1000000] [--precisions bfloat16 tf32 float32] [file …]

Without files words are made up whose frequencies fall as in text (Zipf). The weights are random: speed does not depend on them.
For each precision a line tells

* tokens/s from strings to mean vectors that stay on the device: texts are tokenized by a few processes, in pieces, while
  earlier pieces are computed. The run before it, in which kernels are compiled and graphs recorded, is told beside it;
* the time between the first and the last kernel of the character network and of the recurrence, and what is left;
* the floor: the products that this run performed, timed alone at their shapes (the second number is the recurrence's);
* errors: of one layer against `run_lstm` in true float32, and the mean cosine of whole vectors to those of `model/`.

Then, for one layer and different numbers of rows, the time of a step (both directions): the products alone with the weights
in either layout, the kernel as it is, without graphs, and with PyTorch's own operators in place of the Triton kernel.
It needs a CUDA device; `--device cpu --tiny` tries the script itself.
"""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from elmokit import Elmo, ElmoConfig
from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.embedding.words import PLACES
from elmokit.kernels.chunks import MOST_STEPS, chunks_of
from elmokit.kernels.gate_step import plain_gate_step
from elmokit.kernels.gpu_lstm import GATE_BYTES, GpuLstm, GpuPrecision
from elmokit.kernels.lstm_kernel import Lengths
from elmokit.kernels.step_graphs import CudaRecorder, StepGraphs
from elmokit.kernels.tf32 import float32_products
from elmokit.model.lstm import LstmLayer, run_lstm
from elmokit.text.files import read_lines
from elmokit.text.tokenizers import get_tokenizer

ORIGINAL = ElmoConfig(bilm=BiLMConfig())
TINY = ElmoConfig(bilm=BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 8), (3, 8)), highways=1), cell_dim=32, projection_dim=8))
STEP_ROWS = (8, 32, 64, 128, 256, 512, 1024, 2048)
WORDS_AT_ONCE = 1024
PIECE = 250_000
"""Tokens of a piece, about: enough for batches of like lengths."""


class Parts(NamedTuple):
    """What a run did on the device."""

    words_s: float
    recurrence_s: float
    words: int
    batches: list[Lengths]
    """The lengths of each batch's rows, longest first."""


def texts_of(files: list[Path], tokens: int) -> list[str]:
    """So many tokens, about, of files, a line a text; of made-up words without files."""
    if files:
        lines: Iterator[str] = (line for path in files for line in read_lines(path, errors="skip") if line.strip())
    else:
        lines = invented_lines()
    texts = []
    for line in lines:
        if tokens <= 0:
            break
        texts.append(line)
        tokens -= len(line.split())
    return texts


def invented_lines() -> Iterator[str]:
    """Lines of 1 to 40 words out of 50,000."""
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 12))) for _ in range(50_000)]
    sums = list(accumulate(1 / (rank + 1) for rank in range(len(words))))
    while True:
        yield " ".join(draw.choices(words, cum_weights=sums, k=draw.randint(1, 40)))


def tokenized(tokenizer: str, texts: list[str]) -> list[list[str]]:
    """Cut texts into words, in a process of its own."""
    return [[token.text for token in get_tokenizer(tokenizer)(text)] for text in texts]


def pieces_of(texts: list[str], tokens: int) -> list[list[str]]:
    """Divide texts into pieces of about so many tokens."""
    pieces: list[list[str]] = [[]]
    room = tokens
    for text in texts:
        if room <= 0:
            pieces.append([])
            room = tokens
        pieces[-1].append(text)
        room -= len(text.split())
    return pieces


def encode(elmo: Elmo, pool: ProcessPoolExecutor | None, pieces: list[list[str]], batch_tokens: int) -> tuple[float, int]:
    """Run from strings to mean vectors on the device; give seconds and tokens."""
    cut = partial(tokenized, elmo.config.text.tokenizer)
    elmo.word_cache = PLACES  # no word is known at the beginning
    began = time.perf_counter()
    vectors: list[Tensor] = []
    for words in map(cut, pieces) if pool is None else pool.map(cut, pieces):
        vectors += elmo.encode_tokens(words, convert_to_tensor=True, batch_tokens=batch_tokens, show_progress_bar=False)
    wait(elmo.device)
    return time.perf_counter() - began, sum(map(len, vectors))


def wait(device: torch.device) -> None:
    """Wait until a device has done all."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Stopwatch:
    """Adds up the time that calls take on the device, without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.times: list[tuple[Any, Any]] = []

    def time(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Make one call."""
        before = self._now()
        result = call(*arguments, **named)
        self.times.append((before, self._now()))
        return result

    def _now(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        event.record()
        return event

    def seconds(self) -> float:
        """Give the sum, after the device has done all."""
        if not self.cuda:
            return float(sum(after - before for before, after in self.times))
        return float(sum(before.elapsed_time(after) for before, after in self.times)) / 1e3


def parts_of(elmo: Elmo, run: Callable[[], object]) -> Parts:
    """Run with a stopwatch at the engine's two parts."""
    engine: Any = elmo.engine
    watches = Stopwatch(elmo.device), Stopwatch(elmo.device)
    words, batches = [0], []
    word_vectors, layers_of = engine.word_vectors, engine.layers_of

    def timed_words(chars_UW: Tensor) -> Any:
        words[0] += len(chars_UW)
        return watches[0].time(word_vectors, chars_UW)

    def timed_layers(x_BTP: Tensor, lengths_B: Any, **named: Any) -> Any:
        batches.append(lengths_B)
        return watches[1].time(layers_of, x_BTP, lengths_B, **named)

    engine.word_vectors, engine.layers_of = timed_words, timed_layers
    try:
        run()
    finally:
        del engine.word_vectors, engine.layers_of
    wait(elmo.device)
    lengths = [np.sort(torch.as_tensor(batch).cpu().numpy())[::-1] for batch in batches]
    return Parts(watches[0].seconds(), watches[1].seconds(), words[0], lengths)


def best(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """The shortest time of some runs of work that is recorded where that is possible, in seconds."""
    graphs = StepGraphs(CudaRecorder()) if device.type == "cuda" else None
    times = []
    with torch.cuda.stream(torch.cuda.Stream(device) if graphs else None):  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        for _ in range(repeats + 2):
            wait(device)
            began = time.perf_counter()
            graphs("", work) if graphs else work()
            wait(device)
            times.append(time.perf_counter() - began)
    return min(times[2:])


class Products:
    """The products of a layer, both directions, with random numbers.

    Args:
        config: Sizes.
        dtype: Of the products.
        device: Where.
        outputs_together: Whether an output's weights lie together, as in the kernel, or an input's.
    """

    def __init__(self, config: BiLMConfig, dtype: torch.dtype, device: torch.device, outputs_together: bool = True) -> None:
        self.numbers: Callable[..., Tensor] = partial(torch.randn, dtype=dtype, device=device)
        self.device = device
        width, cells = config.output_dim, config.cell_dim
        self.sizes = [(width, 4 * cells), (width, 4 * cells), *([(cells, width)] if config.projection_dim else [])]
        self.weights = [self._weight(*size, outputs_together) for size in self.sizes]

    def _weight(self, inputs: int, outputs: int, together: bool) -> Tensor:
        return self.numbers(2, outputs, inputs).transpose(1, 2) if together else self.numbers(2, inputs, outputs)

    def seconds(self, rows: int, steps: int) -> float:
        """Time the products of a chunk."""
        tokens = (steps * rows, rows, rows)
        inputs = [self.numbers(2, n, size[0]) for n, size in zip(tokens, self.sizes, strict=False)]
        outputs = [self.numbers(2, n, size[1]) for n, size in zip(tokens, self.sizes, strict=False)]

        def work() -> None:
            torch.bmm(inputs[0], self.weights[0], out=outputs[0])
            for _ in range(steps):
                for number in range(1, len(self.sizes)):
                    torch.bmm(inputs[number], self.weights[number], out=outputs[number])

        return best(work, self.device)


def products_seconds(config: BiLMConfig, dtype: torch.dtype, device: torch.device, parts: Parts) -> tuple[float, float]:
    """The floor of a run: the products of the character network, and of the recurrence, at the shapes that it had."""
    gates = 2 * 4 * config.cell_dim * dtype.itemsize
    shapes = Counter((chunk.rows, chunk.steps) for batch in parts.batches for chunk in chunks_of(batch, GATE_BYTES // gates))
    products = Products(config, dtype, device)
    recurrence = sum(products.seconds(*shape) * count for shape, count in shapes.items()) * config.layers
    characters = config.char_cnn
    assert characters is not None, "the models of this script read characters"
    numbers: Callable[..., Tensor] = partial(torch.randn, dtype=dtype, device=device)
    window, features = characters.embedding_dim * max(width for width, _ in characters.filters), characters.features
    cases = [(WORDS_AT_ONCE * characters.max_characters, window, features), (WORDS_AT_ONCE, features, config.output_dim)]
    cases += [(WORDS_AT_ONCE, features, 2 * features)] * characters.highways
    pairs = [(numbers(rows, inputs), numbers(outputs, inputs)) for rows, inputs, outputs in cases]
    words = best(lambda: [linear(*pair) for pair in pairs], device) * parts.words / WORDS_AT_ONCE
    return words, recurrence


def layer_error(elmo: Elmo, precision: GpuPrecision) -> float:
    """The largest error of a layer's outputs, on random inputs, against `run_lstm` in true float32."""
    layers = [stack.layers[0] for stack in (elmo.bilm.forward_stack, elmo.bilm.backward_stack)]
    pair = [layer for layer in layers if isinstance(layer, LstmLayer)]
    torch.manual_seed(1)
    lengths = np.arange(96) % 31
    x_TBD = torch.randn(30, 96, elmo.config.bilm.output_dim, device=elmo.device)
    kernel = GpuLstm(pair, precision)
    largest = 0.0
    for _ in range(3):  # plainly, recorded, replayed
        for layer, result in zip(pair, kernel.run([x_TBD, x_TBD], lengths, [None, None]), strict=True):
            assert result is not None
            with torch.no_grad(), float32_products(tf32=False):
                y_BTP, _ = run_lstm(layer, x_TBD.transpose(0, 1), torch.from_numpy(lengths).to(elmo.device), None)
            largest = max(largest, float((result[0].transpose(0, 1) - y_BTP).abs().max()))
    return largest


def mean_cosine(elmo: Elmo, texts: list[str]) -> float:
    """The mean cosine of vectors to those that `model/` gives in true float32."""
    words = tokenized(elmo.config.text.tokenizer, texts)
    batch = elmo.collate.batch(elmo.collate.read_forms(words))
    with torch.no_grad(), float32_products(tf32=False):
        layers_LBTD, _ = elmo.bilm(batch)
    expected_BTD = layers_LBTD.mean(0)
    found = elmo.encode_tokens(words, convert_to_tensor=True, show_progress_bar=False)
    pairs = [(x_ND, expected_BTD[row, 1 : len(x_ND) + 1]) for row, x_ND in enumerate(found)]
    return float(torch.cat([torch.cosine_similarity(*pair, dim=-1) for pair in pairs]).mean())


def measure(
    folder: str, precision: GpuPrecision, pool: ProcessPoolExecutor | None, texts: list[str], options: argparse.Namespace
) -> None:
    """Print the line of one precision."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")  # float32 follows it on a GPU
    elmo = Elmo.from_pretrained(folder, device=options.device, precision="bfloat16" if precision == "bfloat16" else "float32")
    pieces = pieces_of(texts, PIECE)
    run = partial(encode, elmo, pool, pieces, options.batch_tokens)
    first_s, tokens = run()
    seconds = min(run()[0] for _ in range(options.repeats))
    parts = parts_of(elmo, run)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    with float32_products(tf32=precision == "tf32"):
        floors = products_seconds(elmo.config.bilm, dtype, elmo.device, parts)
    rest = seconds - parts.words_s - parts.recurrence_s
    largest, cosine = layer_error(elmo, precision), mean_cosine(elmo, texts[:100])
    print(
        f"{precision:9} {tokens / seconds:9,.0f} tokens/s ({tokens / first_s:,.0f} the first time; {tokens:,} tokens); "
        f"of {seconds:.3f} s: words {parts.words_s:.3f} ({parts.words:,} computed), recurrence {parts.recurrence_s:.3f} "
        f"({len(parts.batches)} batches), rest {rest:.3f}; floor {sum(floors):.3f} ({floors[1]:.3f}); "
        f"largest error of a layer {largest:.1e}, mean cosine {cosine:.6f}",
        flush=True,
    )


def kernel_seconds(kernel: GpuLstm, rows: int) -> float:
    """Time a kernel's steps, from its second recording on."""
    x_TBD = torch.randn(MOST_STEPS, rows, kernel.sizes.inputs, device=kernel.device)
    times = []
    for _ in range(6):
        wait(kernel.device)
        began = time.perf_counter()
        kernel.run([x_TBD, x_TBD], None, [None, None])
        wait(kernel.device)
        times.append(time.perf_counter() - began)
    return min(times[3:]) / MOST_STEPS


def print_steps(config: BiLMConfig, precision: GpuPrecision, device: torch.device, all_rows: Sequence[int]) -> None:
    """Print the table of one layer's steps."""
    pair = [LstmLayer(config).to(device) for _ in range(2)]
    kernels = [GpuLstm(pair, precision), GpuLstm(pair, precision, graphs=False), GpuLstm(pair, precision)]
    kernels[2].gate_step = plain_gate_step
    dtype = kernels[0].dtype
    print(
        f"\n{precision}: microseconds a step of one layer, both directions; tokens/s if all were that, in {config.layers} layers"
    )
    table = "{:>6} {:>9} {:>16} {:>8} {:>10} {:>12} {:>12}"
    print(table.format("rows", "products", "inputs together", "kernel", "no graphs", "plain gates", "tokens/s"))
    for rows in all_rows:
        steps = max(1, min(MOST_STEPS, GATE_BYTES // (8 * config.cell_dim * dtype.itemsize * rows)))
        with float32_products(tf32=precision == "tf32"):
            floors = [Products(config, dtype, device, together).seconds(rows, steps) / steps for together in (True, False)]
        times = [kernel_seconds(kernel, rows) for kernel in kernels]
        microseconds = [f"{1e6 * value:,.1f}" for value in (*floors, *times)]
        print(table.format(rows, *microseconds, f"{rows / times[0] / config.layers:,.0f}"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--precisions", nargs="*", choices=get_args(GpuPrecision), default=["bfloat16", "tf32", "float32"])
    parser.add_argument("--batch-tokens", type=int, default=65_536)
    parser.add_argument("--processes", type=int, default=8, help="that tokenize; 0: none beside this one")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="*", default=STEP_ROWS, help="for the table of steps")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try this script")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_speed: there is no CUDA device here, so there is nothing to measure")
    config = TINY if options.tiny else ORIGINAL
    texts = texts_of(options.files, options.tokens)
    if device.type == "cuda":
        print(f"{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        Elmo.from_config(config).save_pretrained(Path(folder) / "model")
        # Not forked: a process that has spoken to a GPU must not be.
        with ProcessPoolExecutor(max(options.processes, 1), multiprocessing.get_context("spawn")) as pool:
            list(pool.map(partial(tokenized, config.text.tokenizer), [["ready"]] * options.processes))
            for precision in options.precisions:
                measure(str(Path(folder) / "model"), precision, pool if options.processes else None, texts, options)
    for precision in options.precisions:
        print_steps(config.bilm, precision, device, options.rows)


if __name__ == "__main__":
    main()
