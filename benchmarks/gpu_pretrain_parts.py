"""What a training step on a GPU is made of, each part alone: matrix products, and what is between them. For `gpu_pretrain`.

Shapes: S matrices, (M, K) · (K, N) each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from benchmarks.gpu_speed import best
from torch import Tensor

from elmokit.config import BiLMConfig
from elmokit.kernels.gpu_training_lstm import _Constants, _Room, _Sizes
from elmokit.kernels.train_steps import PLAIN_STEPS, TrainSteps
from elmokit.pretraining.recipes import Recipe

TIMES = 20
PROGRAMS = ((1, 512), (2, 256), (2, 512), (4, 256), (4, 512), (8, 128), (8, 256))
"""Rows and columns of a program that are tried."""


class Shape(NamedTuple):
    """A product of all directions, (S, M, K) · (S, K, N), so many times in a step."""

    name: str
    s: int
    m: int
    k: int
    n: int
    times: int

    @property
    def operations(self) -> int:
        """Multiplications and additions of one."""
        return 2 * self.s * self.m * self.k * self.n


def shapes_of(bilm: BiLMConfig, recipe: Recipe, words: int) -> list[Shape]:
    """All products of a step."""
    rows, steps, s = recipe.batch_size, recipe.window, bilm.directions
    p, h, n = bilm.output_dim, bilm.cell_dim, recipe.batch_size * recipe.window
    often, layers = steps * bilm.layers, bilm.layers
    found = [
        Shape("x W_x", s, n, p, 4 * h, layers),
        Shape("h W_h, a step", s, rows, p, 4 * h, often),
        Shape("m W_P, a step, in 4 parts", 4 * s, rows, h // 4, p, often),
        Shape("dh W_P', a step", s, rows, p, h, often),
        Shape("da W_h', a step, in 4 parts", 4 * s, rows, h, p, often),
        Shape("da W_x'", s, n, 4 * h, p, layers),
        Shape("x' da and h' da", s, p, n, 4 * h, 2 * layers),
        Shape("m' dh", s, h, n, p, layers),
        Shape("softmax, scores", 1, n, p, recipe.negatives or 0, s),
        Shape("softmax, dh", 1, n, recipe.negatives or 0, p, s),
        Shape("softmax, dW", 1, recipe.negatives or 0, n, p, s),
    ]
    if bilm.char_cnn is not None:
        features = bilm.char_cnn.features
        sizes = [(features, features)] * (2 * bilm.char_cnn.highways) + [(features, p)]
        for k, out in sorted(set(sizes)):
            times = sizes.count((k, out))
            found += [
                Shape("words", 1, words, k, out, times),
                Shape("words, dx", 1, words, out, k, times),
                Shape("words, dW", 1, k, words, out, times),
            ]
    return [
        *found,
        Shape("(not used) m W_P whole", s, rows, h, p, 0),
        Shape("(not used) m W_P in 8 parts", 8 * s, rows, h // 8, p, 0),
        Shape("(not used) da W_h' whole", s, rows, 4 * h, p, 0),
        Shape("(not used) da W_h' in 8 parts", 8 * s, rows, h // 2, p, 0),
        Shape("(not used) h W_h of one direction", 1, rows, p, 4 * h, 0),
    ]


def floor(shapes: list[Shape], dtype: torch.dtype, device: torch.device) -> list[dict[str, Any]]:
    """Time each product alone."""
    rows = []
    numbers = partial(torch.randn, dtype=dtype, device=device)
    for shape in shapes:
        a, b = numbers(shape.s, shape.m, shape.k), numbers(shape.s, shape.k, shape.n)
        out = numbers(shape.s, shape.m, shape.n)
        seconds = best(partial(_again, partial(torch.bmm, a, b, out=out), TIMES), device) / TIMES
        rows.append({**shape._asdict(), "us": 1e6 * seconds, "tflops": shape.operations / seconds / 1e12})
    return rows


def print_floor(rows: list[dict[str, Any]], targets: int) -> float:
    """Print the table of products; give their time in a step, in ms."""
    print(f"\n{'product':34} {'S':>2} {'M':>6} {'K':>6} {'N':>6} {'times':>5} {'µs':>8} {'TFLOP/s':>8} {'ms a step':>9}")
    for row in rows:
        numbers = f"{row['s']:2} {row['m']:6} {row['k']:6} {row['n']:6} {row['times']:5}"
        print(f"{row['name']:34} {numbers} {row['us']:8.1f} {row['tflops']:8.1f} {row['us'] * row['times'] / 1e3:9.2f}")
    total = float(sum(row["us"] * row["times"] for row in rows)) / 1e3
    print(f"the products alone: {total:.2f} ms a step, {1e3 * targets / total:,.0f} tokens/s")
    return total


def room_of(bilm: BiLMConfig, recipe: Recipe, dtype: torch.dtype, device: torch.device) -> _Room:
    """Make a layer's memory with random numbers in it."""
    sizes = _Sizes(bilm.directions, recipe.window, recipe.batch_size, bilm.output_dim, bilm.output_dim, bilm.cell_dim)
    constants = _Constants(bilm.projection_dim is not None, bilm.cell_clip, bilm.projection_clip, bilm.forget_bias)
    room = _Room(sizes, constants, torch.empty(0, device=device), dtype, steps_on(device), None)
    for tensor in (tensor for tensor in vars(room).values() if isinstance(tensor, Tensor)):
        tensor.normal_(std=0.02)
    return room


def between(room: _Room, steps: TrainSteps, device: torch.device) -> dict[str, float]:
    """Time what is between the products, step after step on memory of their own; GB/s each, and µs."""
    cells, last = room.c_TRSH, len(room.y_TRSP)
    gates = room.gates_TRSG
    works: dict[str, tuple[Callable[[int], None], list[Tensor]]] = {
        "gates": (
            lambda t: steps.gates(gates[t], room.h_gates_RSG, room.bias_SG, cells[t], cells[t + 1], room.m_TRSH[t], 3.0),
            [gates[0], gates[0], room.h_gates_RSG, cells[0], cells[0], room.m_TRSH[0]],
        ),
        "back_gates": (
            lambda t: steps.back_gates(gates[t], cells[t], cells[t + 1], room.dm_RSH, room.dc_RSH, 3.0),
            [gates[0], gates[0], cells[0], cells[0], room.dm_RSH, room.dc_RSH, room.dc_RSH],
        ),
        "outputs": (
            lambda t: steps.outputs(room.y_parts_RSKP, room.y_TRSP[t], room.h_TRSP[t + 1], 3.0),
            [room.y_parts_RSKP, room.y_TRSP[0], room.h_TRSP[0]],
        ),
        "back_outputs": (
            lambda t: steps.back_outputs(room.dy_TRSP[t], room.dh_parts_RSKP, room.y_TRSP[t], room.dh_TRSP[t], 3.0),
            [room.dy_TRSP[0], room.dh_parts_RSKP, room.y_TRSP[0], room.dh_TRSP[0]],
        ),
    }
    found: dict[str, float] = {}
    for name, (work, moved) in works.items():
        seconds = best(partial(_each, work, last), device) / last
        found |= {f"{name} µs": 1e6 * seconds, f"{name} GB/s": sum(t.nbytes for t in moved) / seconds / 1e9}
    return found


def programs(room: _Room, device: torch.device) -> dict[str, dict[str, float]]:
    """Time what is between the products for several sizes of a program."""
    if device.type != "cuda":
        return {"plain": between(room, PLAIN_STEPS, device)}
    from elmokit.kernels import train_kernels

    found = {}
    for rows, columns in PROGRAMS:
        with patch.multiple(train_kernels, ROWS=rows, COLUMNS=columns):
            found[f"{rows} × {columns}"] = between(room, train_kernels.KERNEL_STEPS, device)
    return found


def recurrence(room: _Room, device: torch.device) -> dict[str, float]:
    """Time a layer's steps, recorded, forward (with the inputs' product) and back (without the weights' gradients)."""
    return {"forward ms": 1e3 * best(room._forward, device), "back ms": 1e3 * best(room._back, device)}


def steps_on(device: torch.device) -> TrainSteps:
    """What is between the products on a device."""
    if device.type != "cuda":
        return PLAIN_STEPS
    from elmokit.kernels.train_kernels import KERNEL_STEPS

    return KERNEL_STEPS


def _again(work: Callable[[], object], times: int) -> None:
    """Do the same so many times."""
    for _ in range(times):
        work()


def _each(work: Callable[[int], object], steps: int) -> None:
    """Do all steps."""
    for t in range(steps):
        work(t)
