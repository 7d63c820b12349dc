"""The recurrence of `training_lstm` on a GPU: both directions in every launch, forward and back each one CUDA graph.

    forward    X = x W_x                                       one product for all steps, rows and directions
               each step   h' W_h,  gates,  m W_P,  outputs    four launches
    back       each step   dĥ,  dĥ W_Pᵀ,  da,  da W_hᵀ         four launches
               dW = [x; h']ᵀ da,  dx = da W_xᵀ, …              one product each for all steps

What is between the products stands in `train_steps`. All that a window needs lies still in a `_Room` from its way forward to
its way back, so that both can be recorded (`step_graphs`) and replayed. Numbers of one token, of all directions, lie together:
then every step's tensors are contiguous, those of all steps are one matrix a direction, and the parts of products
(`train_steps`) are matrices with equal distances too.

Products are made in the precision asked for, with float32 sums (where cuBLAS itself cuts one into parts, PyTorch's default
lets it add these in bfloat16); cells, outputs and gradients that leave are float32.
The first window that it meets it reads the plain way too (`gpu_training_check`), and keeps to that way where the two disagree.
Shapes: S directions, B = R rows, T steps, N = T · R, D input, P output, H cell, G = 4H gates, K parts.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elmokit.kernels.gpu_training_check import disagreement
from elmokit.kernels.step_graphs import CudaRecorder, Record, StepGraphs, Work
from elmokit.kernels.train_steps import TrainSteps
from elmokit.model.bilm import LstmStack, Reading, StackState, one_by_one
from elmokit.model.lstm import LstmLayer, LstmState

GATES = 4
PARTS_FROM = 32
"""A projection's inputs are cut into parts where their number is a multiple of this: so they lie as tensor cores like it."""


class _Sizes(NamedTuple):
    """Of a window and a layer."""

    directions: int
    steps: int
    rows: int
    inputs: int
    outputs: int
    cells: int


class _Constants(NamedTuple):
    """Of a layer's equations."""

    projected: bool
    cell_clip: float | None
    projection_clip: float | None
    forget_bias: float


class _Room:
    """Memory for one window of one layer, from its way forward to its way back, and the work on it.

    Args:
        sizes: Of the window and the layer.
        constants: Of the layer.
        wide: A tensor on the device, of the type of all that is no product's factor.
        dtype: Of the products.
        steps: What is between the products.
        graphs: For recordings of the work; None for none.
    """

    def __init__(
        self, sizes: _Sizes, constants: _Constants, wide: Tensor, dtype: torch.dtype, steps: TrainSteps, graphs: StepGraphs | None
    ) -> None:
        self.constants, self.steps, self.graphs = constants, steps, graphs
        s, t, r, d, p, h = sizes
        self.parts = GATES if constants.projected and h % PARTS_FROM == 0 else 1
        like = wide.new_empty(0, dtype=dtype)
        self.w_KSG = like.new_empty(d + p, s, GATES * h)  # K = D + P here: the rows for x, then those for h
        self.w_SHP = like.new_empty(s, h, p) if constants.projected else None
        self.bias_SG = wide.new_empty(s, GATES * h)
        self.x_TRSD, self.h_TRSP = like.new_empty(t, r, s, d), like.new_empty(t + 1, r, s, p)
        self.gates_TRSG, self.h_gates_RSG = like.new_empty(t, r, s, GATES * h), like.new_empty(r, s, GATES * h)
        self.c_TRSH, self.m_TRSH = wide.new_empty(t + 1, r, s, h), like.new_empty(t, r, s, h)
        self.y_parts_RSKP = like.new_empty(r, s, self.parts, p)
        self.y_TRSP, self.dy_TRSP = wide.new_empty(t, r, s, p), wide.new_empty(t, r, s, p)
        self.dh_TRSP, self.dm_RSH = like.new_empty(t, r, s, p), like.new_empty(r, s, h)
        self.dh_parts_RSKP, self.dc_RSH = like.new_empty(r, s, GATES, p), wide.new_empty(r, s, h)

    def read(self, x_SBTD: Tensor, h_SBP: Tensor, c_SBH: Tensor, weights: "_Weights") -> tuple[Tensor, Tensor]:
        """Go forward; give y_SBTP and the cells after, in memory of their own."""
        self.x_TRSD.copy_(x_SBTD.permute(2, 1, 0, 3))
        self.h_TRSP[0].copy_(h_SBP.transpose(0, 1))
        self.c_TRSH[0].copy_(c_SBH.transpose(0, 1))
        for direction, kernel in enumerate(weights.kernels):
            self.w_KSG[:, direction].copy_(kernel)
            self.bias_SG[direction].copy_(weights.biases[direction])
            if self.w_SHP is not None:
                self.w_SHP[direction].copy_(weights.projections[direction])
        _cut(self.bias_SG, 1, GATES)[:, 2] += self.constants.forget_bias
        self._do("forward", self._forward)
        return _copied(self.y_TRSP.permute(2, 1, 0, 3)), _copied(self.c_TRSH[-1].transpose(0, 1))

    def _do(self, name: str, work: Work) -> None:
        """Do work, from its recording if there is one."""
        work() if self.graphs is None else self.graphs(name, work)

    def _forward(self) -> None:
        """Do all steps."""
        inputs = self.x_TRSD.shape[-1]
        w_h_SPG = self.w_KSG[inputs:].transpose(0, 1)
        torch.bmm(_all_steps(self.x_TRSD), self.w_KSG[:inputs].transpose(0, 1), out=_all_steps(self.gates_TRSG))
        for t, (gates_RSG, y_RSP, m_RSH) in enumerate(zip(self.gates_TRSG, self.y_TRSP, self.m_TRSH, strict=True)):
            torch.bmm(self.h_TRSP[t].transpose(0, 1), w_h_SPG, out=self.h_gates_RSG.transpose(0, 1))
            cells = (self.c_TRSH[t], self.c_TRSH[t + 1])
            self.steps.gates(gates_RSG, self.h_gates_RSG, self.bias_SG, *cells, m_RSH, self.constants.cell_clip)
            if self.w_SHP is None:
                self.steps.outputs(m_RSH.unsqueeze(2), y_RSP, self.h_TRSP[t + 1], None)
                continue
            w_SHP = _cut(self.w_SHP, 1, self.parts).flatten(0, 1)
            torch.bmm(_apart(m_RSH, self.parts), w_SHP, out=self.y_parts_RSKP.flatten(1, 2).transpose(0, 1))
            self.steps.outputs(self.y_parts_RSKP, y_RSP, self.h_TRSP[t + 1], self.constants.projection_clip)

    def go_back(self, dy_SBTP: Tensor, dc_SBH: Tensor) -> "_Gradients":
        """Go back; the gates are overwritten, so once only."""
        self.dy_TRSP.copy_(dy_SBTP.permute(2, 1, 0, 3))
        self.dc_RSH.copy_(dc_SBH.transpose(0, 1))
        self._do("back", self._back)
        inputs, wide = self.x_TRSD.shape[-1], self.dy_TRSP.dtype
        da_SNG, dh_SNP = _all_steps(self.gates_TRSG), _all_steps(self.dh_TRSP)
        d_w_SKG = da_SNG.new_empty(len(da_SNG), *self.w_KSG.shape[::2])
        torch.bmm(_all_steps(self.x_TRSD).transpose(1, 2), da_SNG, out=d_w_SKG[:, :inputs])
        torch.bmm(_all_steps(self.h_TRSP[:-1]).transpose(1, 2), da_SNG, out=d_w_SKG[:, inputs:])
        d_x_SND = torch.bmm(da_SNG, self.w_KSG[:inputs].permute(1, 2, 0))
        projected = self.w_SHP is not None
        return _Gradients(
            x_SBTD=d_x_SND.view(len(d_x_SND), *self.x_TRSD.shape[:2], inputs).transpose(1, 2).to(wide),
            h_SBP=self.dh_parts_RSKP.to(wide).sum(2).transpose(0, 1),
            c_SBH=_copied(self.dc_RSH.transpose(0, 1)),
            kernels_SKG=d_w_SKG.to(wide),
            biases_SG=self.gates_TRSG.sum((0, 1), dtype=wide),
            projections_SHP=torch.bmm(_all_steps(self.m_TRSH).transpose(1, 2), dh_SNP).to(wide) if projected else None,
        )

    def _back(self) -> None:
        """Do all steps, the last one first."""
        inputs = self.x_TRSD.shape[-1]
        w_h_back = _cut(self.w_KSG[inputs:], 2, GATES).flatten(1, 2).permute(1, 2, 0)  # (S · 4, H, P)
        clip = self.constants.projection_clip if self.constants.projected else None
        self.dh_parts_RSKP.zero_()
        for t in reversed(range(len(self.y_TRSP))):
            dh_RSP = self.dh_TRSP[t]
            self.steps.back_outputs(self.dy_TRSP[t], self.dh_parts_RSKP, self.y_TRSP[t], dh_RSP, clip)
            if self.w_SHP is not None:
                torch.bmm(dh_RSP.transpose(0, 1), self.w_SHP.transpose(1, 2), out=self.dm_RSH.transpose(0, 1))
            dm_RSH = dh_RSP if self.w_SHP is None else self.dm_RSH
            cells = (self.c_TRSH[t], self.c_TRSH[t + 1])
            self.steps.back_gates(self.gates_TRSG[t], *cells, dm_RSH, self.dc_RSH, self.constants.cell_clip)
            torch.bmm(_apart(self.gates_TRSG[t], GATES), w_h_back, out=self.dh_parts_RSKP.flatten(1, 2).transpose(0, 1))


class _Weights(NamedTuple):
    """Parameters of a layer, by direction."""

    kernels: Sequence[Tensor]
    biases: Sequence[Tensor]
    projections: Sequence[Tensor]
    """Empty where there are none."""


class _Gradients(NamedTuple):
    """Of all that a layer has read, in memory of their own."""

    x_SBTD: Tensor
    h_SBP: Tensor
    c_SBH: Tensor
    kernels_SKG: Tensor
    biases_SG: Tensor
    projections_SHP: Tensor | None


class _Lent:
    """A room in use, which goes back when it has been gone back through, or when the graph that needs it is gone.

    Args:
        room: The room.
        home: Where it goes.
    """

    def __init__(self, room: _Room, home: list[_Room]) -> None:
        self.room: _Room | None = room
        self._home = home

    def give_back(self) -> None:
        """End its use."""
        if self.room is not None:
            self._home.append(self.room)
            self.room = None

    def __del__(self) -> None:
        self.give_back()


class GpuTrainingLstm:
    """`ReadStacks` for training on CUDA; what is not for it goes the plain way, `one_by_one`.

    Args:
        product_dtype: Of the products: bfloat16 or float32.
        steps: What is between them; None: Triton's kernels, on CUDA alone, once a window has shown that they are right.
    """

    def __init__(self, product_dtype: torch.dtype, steps: TrainSteps | None = None) -> None:
        self.dtype = product_dtype
        self._steps = steps
        self._trust: bool | None = None if steps is None else True
        self._rooms: dict[tuple[Any, ...], list[_Room]] = {}

    def __call__(
        self, stacks: Sequence[LstmStack], x_SBTP: Sequence[Tensor], states: Sequence[StackState | None]
    ) -> Iterable[Reading]:
        """Read whole rows in all directions; see `one_by_one`."""
        if not torch.is_grad_enabled() or not x_SBTP[0].shape[1] or not self._trusted(stacks, x_SBTP):
            return one_by_one(stacks, x_SBTP, states)
        x_SBTP = list(x_SBTP)
        outputs: list[list[Tensor]] = [[] for _ in stacks]
        after: list[list[LstmState]] = [[] for _ in stacks]
        for number in range(len(stacks[0].layers)):
            x_SBTP = [stack.dropout(x_BTP) for stack, x_BTP in zip(stacks, x_SBTP, strict=True)]
            before = [None if state is None else state[number] for state in states]
            for direction, (y_BTP, state) in enumerate(self.run(_layers(stacks, number), x_SBTP, before)):
                skips = stacks[direction].skip_connections and number > 0
                x_SBTP[direction] = y_BTP + x_SBTP[direction] if skips else y_BTP
                outputs[direction].append(x_SBTP[direction])
                after[direction].append(state)
        return [(found, tuple(kept)) for found, kept in zip(outputs, after, strict=True)]

    def run(
        self, layers: Sequence[LstmLayer], x_SBTD: Sequence[Tensor], states: Sequence[LstmState | None]
    ) -> list[tuple[Tensor, LstmState]]:
        """Run a layer in all directions: what `training_lstm` does for each."""
        wide, first = layers[0].bias.dtype, layers[0]
        zeros = first.zero_state(x_SBTD[0])
        before = [state or zeros for state in states]
        h_SBP, c_SBH = (torch.stack([part.to(wide) for part in parts]) for parts in zip(*before, strict=True))
        constants = _Constants(first.projection is not None, first.cell_clip, first.projection_clip, first.forget_bias)
        weights = [layer.kernel for layer in layers] + [layer.bias for layer in layers]
        weights += [layer.projection for layer in layers if layer.projection is not None]
        x = torch.stack([x_BTD.to(wide) for x_BTD in x_SBTD])  # words may come in bfloat16
        y_SBTP, last_SBH = _BothDirections.apply(self, constants, x, h_SBP, c_SBH, *weights)  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        return [(y_BTP, LstmState(y_BTP[:, -1], c_BH)) for y_BTP, c_BH in zip(y_SBTP, last_SBH, strict=True)]

    def lend(self, sizes: _Sizes, constants: _Constants, wide: Tensor) -> _Lent:
        """Give a room of some sizes; those of other sizes, which a run has no more, make place."""
        key = (sizes, constants, wide.device, wide.dtype)
        if key not in self._rooms:
            self._rooms = {key: []}
        home = self._rooms[key]
        if home:
            return _Lent(home.pop(), home)
        assert self._steps is not None, "trusted"
        graphs = StepGraphs(_recorder(wide.device)) if wide.device.type == "cuda" else None
        return _Lent(_Room(sizes, constants, wide, self.dtype, self._steps, graphs), home)

    def _trusted(self, stacks: Sequence[LstmStack], x_SBTP: Sequence[Tensor]) -> bool:
        """Whether this way is right here: found out with the first window, the plain way being asked too."""
        if self._trust is None:
            try:
                self._steps = _kernel_steps()
                wrong = disagreement(self.run, _layers(stacks, 0), x_SBTP, self.dtype)
            except Exception as error:  # no Triton, no compiler, an old driver: there is an error of its own for each
                wrong = f"{type(error).__name__}: {error}"
            self._trust = wrong is None
            if wrong is not None:
                self._rooms = {}
                warnings.warn(f"training goes on without the kernels for GPUs, which is slower ({wrong})", stacklevel=2)
        return self._trust


class _BothDirections(torch.autograd.Function):
    """All steps of one layer in all directions, with the gradient of `training_lstm`."""

    @staticmethod
    def forward(
        context: Any,
        kernel: GpuTrainingLstm,
        constants: _Constants,
        x_SBTD: Tensor,
        h_SBP: Tensor,
        c_SBH: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Read a window in a room, which is kept for the way back."""
        directions, rows, steps, inputs = x_SBTD.shape
        sizes = _Sizes(directions, steps, rows, inputs, h_SBP.shape[2], c_SBH.shape[2])
        context.lent = lent = kernel.lend(sizes, constants, c_SBH)
        assert lent.room is not None, "lent just now"
        by_direction = (weights[:directions], weights[directions : 2 * directions], weights[2 * directions :])
        return lent.room.read(x_SBTD, h_SBP, c_SBH, _Weights(*by_direction))

    @staticmethod
    @once_differentiable
    def backward(context: Any, dy_SBTP: Tensor, dc_SBH: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through all steps; the room is then another window's."""
        room = context.lent.room
        if room is None:
            raise RuntimeError("a window has been gone back through already, and once is all that its memory is kept for")
        found = room.go_back(dy_SBTP, dc_SBH)
        context.lent.give_back()
        projections = () if found.projections_SHP is None else found.projections_SHP.unbind()
        return None, None, *found[:3], *found.kernels_SKG.unbind(), *found.biases_SG.unbind(), *projections


def _kernel_steps() -> TrainSteps:
    """Give Triton's kernels.

    Raises:
        ImportError: There is no Triton here.
    """
    from elmokit.kernels.train_kernels import KERNEL_STEPS

    return KERNEL_STEPS


def _layers(stacks: Sequence[LstmStack], number: int) -> list[LstmLayer]:
    """Give the same layer of all directions."""
    return [layer for stack in stacks if isinstance(layer := stack.layers[number], LstmLayer)]


def _all_steps(x_TRSK: Tensor) -> Tensor:
    """See the numbers of all steps as a matrix for each direction, x_SNK."""
    return x_TRSK.flatten(0, 1).transpose(0, 1)


def _apart(x_RSK: Tensor, parts: int) -> Tensor:
    """See the numbers of each direction as matrices of some columns each, (S · parts, R, K / parts)."""
    return _cut(x_RSK, 2, parts).flatten(1, 2).transpose(0, 1)


def _cut(x: Tensor, dimension: int, parts: int) -> Tensor:
    """See a dimension as two: parts, and the numbers of each."""
    return x.view(*x.shape[:dimension], parts, -1, *x.shape[dimension + 1 :])


def _copied(x: Tensor) -> Tensor:
    """Copy numbers out of a room, which the next window overwrites."""
    return x.clone(memory_format=torch.contiguous_format)


def _recorder(device: torch.device) -> Record:
    """Give what records work; the recordings are replayed on whichever stream is at work then."""
    record, stream = CudaRecorder(), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # PyTorch's own lack of types

    def recorded(work: Work) -> Work:
        with torch.cuda.stream(stream):  # nothing is recorded on the default one
            return record(work)

    return recorded
