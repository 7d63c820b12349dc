"""What the streams of a batch remember, by rows: cut, joined, and named in a checkpoint."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from elmokit.model.bilm import BiLMState
from elmokit.model.lstm import LstmState


def split_state(state: BiLMState, rows: slice) -> BiLMState:
    """Give the states of some rows."""
    return _each(lambda part: part[0][rows].clone(), [state])


def without_memory(state: BiLMState, rows_B: Tensor) -> BiLMState:
    """Set the states of the rows that are marked True to zero."""
    return _each(lambda part: part[0].masked_fill(rows_B.to(part[0].device).unsqueeze(1), 0.0), [state])


def join_states(states: Sequence[BiLMState]) -> BiLMState | None:
    """Put the rows of several states under each other; None if there is none."""
    return _each(lambda parts: torch.cat(list(parts)), states) if states else None


def state_tensors(state: BiLMState | None) -> dict[str, Tensor]:
    """Name the tensors of a state."""
    if state is None:
        return {}
    return {
        f"state.{way}.{number}.{part}": getattr(layer, part)
        for way, stack in state._asdict().items()
        for number, layer in enumerate(stack)
        for part in LstmState._fields
    }


def state_from_tensors(tensors: Mapping[str, Tensor], device: torch.device) -> BiLMState | None:
    """Find the state that `state_tensors` named; None if there is none.

    Raises:
        KeyError: A part of it is missing.
    """
    layers = sum(name.startswith("state.forward.") for name in tensors) // len(LstmState._fields)
    if not layers:
        return None
    backward = any(name.startswith("state.backward.") for name in tensors)  # a model may read forward alone
    stacks = (
        tuple(
            LstmState(*(tensors[f"state.{way}.{number}.{part}"].to(device) for part in LstmState._fields))
            for number in range(layers)
        )
        for way in (BiLMState._fields if backward else ("forward",))
    )
    return BiLMState(*stacks)


def _each(change: Callable[[Sequence[Tensor]], Tensor], states: Sequence[BiLMState]) -> BiLMState:
    """Make a state of the same tensor of each of several ones."""
    stacks = (
        tuple(
            LstmState(*(change([getattr(layer, part) for layer in layers]) for part in LstmState._fields))
            for layers in zip(*same, strict=True)
        )
        for same in zip(*states, strict=True)
    )
    return BiLMState(*stacks)
