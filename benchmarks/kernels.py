"""What the CPU's kernels are made of, each part timed alone: the figures behind `docs/performance.md`.

    python benchmarks/kernels.py [--threads 1] [--cells 4096] [--width 512] [--parts functions bytes single products words layers]

functions   what σ and tanh cost, and the passes between them, in nanoseconds a number
bytes       four ways of rounding numbers to bytes, and of finding each row's largest, in nanoseconds a number
single      one row × W_h and × W_P in int8, in the ways that PyTorch has, in microseconds
products    R rows × W_h in the ways that PyTorch has, in milliseconds
words       the character network of `model/` and the kernel's on the sample text, in microseconds a distinct word
layers      one layer, both directions: `run_lstm` and the kernel, in microseconds a token
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.kernels.cpu_lstm import CpuLstm
from elmokit.kernels.int8_products import (
    LEVELS,
    ZERO_POINT,
    PackedBytes,
    PlainBytes,
    SingleInt8,
    packed_int8_works,
    signed_bytes,
    signed_int8_works,
    whole_numbers,
)
from elmokit.kernels.products import Precision, make_product
from elmokit.kernels.words import FastCharCnn
from elmokit.model.char_cnn import CharCnn
from elmokit.model.lstm import LstmLayer, run_lstm
from elmokit.text.files import read_lines
from elmokit.text.readers import BYTES

ROWS = (1, 4, 16, 32, 128)
STEPS = 20


def best(work: Callable[[], object], repeats: int = 15) -> float:
    """The shortest of some runs, in seconds."""
    work(), work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def functions(cells: int, width: int) -> None:
    """Passes over 64 rows of cells, as the gates have them."""
    gates = torch.randn(64, 4 * cells)
    i, g, f, _ = gates.chunk(4, 1)
    out, c = torch.empty(64, cells), torch.randn(64, cells)
    passes: dict[str, Callable[[], object]] = {
        "tanh": lambda: torch.tanh(c, out=out),
        "sigmoid": lambda: torch.sigmoid(c, out=out),
        "multiply": lambda: torch.mul(f, c, out=out),
        "addcmul": lambda: torch.addcmul(i, i, g, value=-2, out=out),
        "clamp": lambda: torch.clamp(c, -3, 3, out=out),
    }
    for name, work in passes.items():
        print(f"  {name:12} {best(work) / c.numel() * 1e9:6.2f} ns")
    x = torch.linspace(-12, 12, 2_000_001)
    error = (2 * torch.sigmoid(2 * x) - 1).double() - torch.tanh(x.double())
    print(f"  2 sigmoid(2x) - 1 is tanh(x) to {float(error.abs().max()):.1e}")


def bytes_of(cells: int, width: int) -> None:
    """Numbers within ±1 to bytes."""
    x, half_up = torch.rand(64, cells) * 2 - 1, torch.tensor(128.5)
    prepared = make_product(torch.eye(cells, 8), None, 1.0, "int8")

    def quantized() -> Tensor:
        return torch.quantize_per_tensor(x, 1 / 127, 128, torch.quint8).int_repr()

    ways: dict[str, Callable[[], object]] = {
        "quantize_per_tensor": quantized,
        "float32 to uint8": lambda: torch.add(half_up, x, alpha=127).to(torch.uint8),
        "float32 to int16 to uint8": lambda: torch.add(half_up, x, alpha=127).to(torch.int16).to(torch.uint8),
        "the lowest bits": partial(prepared.prepare, x),
        "each row's largest, aminmax": lambda: torch.aminmax(x, dim=1),
        "each row's largest, amax amin": lambda: torch.maximum(x.amax(1), -x.amin(1)),
    }
    for name, work in ways.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first way is deprecated
            print(f"  {name:30} {best(work) / x.numel() * 1e9:6.2f} ns")


def single(cells: int, width: int) -> None:
    """One row in int8: times the recurrent matrix, and times the projection."""
    for name, (inputs, outputs) in {"W_h": (width, 4 * cells), "W_P": (cells, width)}.items():
        whole = whole_numbers(torch.randn(inputs, outputs) * 0.05)
        row = torch.randint(-LEVELS, LEVELS, (1, inputs))
        signed, unsigned = row.to(torch.int8), (row + ZERO_POINT).to(torch.uint8)
        ways: dict[str, Callable[[], object]] = {}
        if packed_int8_works():
            ways["packed by oneDNN"] = partial(PackedBytes(whole).times, unsigned)
        if signed_int8_works():
            ways["signed, as it is"] = partial(SingleInt8(signed_bytes(whole), 1.0).times, signed)
        ways["float32"] = partial(PlainBytes(whole).times, unsigned)
        print(f"  {name}, µs:  " + "   ".join(f"{way} {best(work, 50) * 1e6:.0f}" for way, work in ways.items()))


def products(cells: int, width: int) -> None:
    """Rows of h times W_h."""
    w = torch.randn(width, 4 * cells) * 0.05
    linear = torch.nn.functional.linear
    plain = w.t().contiguous()
    prepared = {precision: make_product(w, None, 3.0, precision) for precision in get_args(Precision)}
    for rows in ROWS:
        x = torch.randn(rows, width).clamp(-3, 3)
        parts = [f"linear {best(partial(linear, x, plain)) * 1e3:7.2f}", f"mm {best(partial(torch.mm, x, w)) * 1e3:7.2f}"]
        for precision, product in prepared.items():
            parts.append(f"{precision} {best(partial(product.times, product.prepare(x))) * 1e3:7.2f}")
        signed = (x * 127 / 3).round().to(torch.int8)
        whole = prepared["int8"]
        packed = getattr(getattr(whole, "many", None), "packed", None)
        if packed is not None and rows == 1:
            scale, zero = torch.ones(4 * cells), torch.zeros(4 * cells, dtype=torch.long)
            call = partial(torch.ops.onednn.qlinear_pointwise, signed, 1.0, 0, packed, scale, zero, None, 1.0, 0)
            parts.append(f"signed int8 {best(partial(call, torch.float32, 'none', [], ''), 3) * 1e3:7.2f}")
        print(f"  {rows:4} rows, ms:  " + "   ".join(parts))


def words(cells: int, width: int) -> None:
    """The published network of two highways over the distinct words of the sample text."""
    sample = Path(__file__).parents[1] / "examples" / "data" / "en.txt"
    distinct = sorted({word for line in read_lines(sample) for word in line.split()})[:6000]
    chars_UW = torch.from_numpy(BYTES(distinct))
    network = CharCnn(CharCnnConfig(), width).eval()
    ways: dict[str, Callable[[Tensor], Tensor]] = {"model/": network}
    for precision in get_args(Precision):
        ways[precision] = FastCharCnn(network, partial(make_product, precision=precision))
    for name, way in ways.items():
        seconds = best(partial(_in_parts, way, chars_UW), 2)
        print(f"  {name:10} {seconds / len(distinct) * 1e6:7.0f} µs for each of {len(distinct):,} distinct words")


def _in_parts(way: Callable[[Tensor], Tensor], chars_UW: Tensor) -> None:
    """Give words to a network as the table of word vectors does."""
    for part in torch.split(chars_UW, 2048):
        way(part)


def layers(cells: int, width: int) -> None:
    """Both directions of one layer."""
    config = BiLMConfig(cell_dim=cells, projection_dim=width)
    pair = [LstmLayer(config), LstmLayer(config)]
    for rows in ROWS:
        x_TBD = torch.randn(STEPS, rows, width).clamp(-3, 3)
        tokens, x_BTD = STEPS * rows, x_TBD.transpose(0, 1)
        plain = sum(best(partial(run_lstm, layer, x_BTD), 2) for layer in pair)
        found = [f"run_lstm {plain / tokens * 1e6:8.0f}"]
        for precision in get_args(Precision):
            kernel = CpuLstm(pair, partial(make_product, precision=precision), 3.0, apart=precision == "float32")
            run = partial(kernel.run, [x_TBD, x_TBD], None, [None, None])
            found.append(f"{precision} {best(run, 3) / tokens * 1e6:8.0f}")
        print(f"  {rows:4} rows, µs a token:  " + "   ".join(found))


PARTS: dict[str, Callable[[int, int], None]] = {
    "functions": functions,
    "bytes": bytes_of,
    "single": single,
    "products": products,
    "words": words,
    "layers": layers,
}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cells", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.parts:
        print(f"{name}, {options.threads} thread(s), {options.cells} cells, width {options.width}")
        PARTS[name](options.cells, options.width)


if __name__ == "__main__":
    main()
