"""The state of a run in one file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim import Optimizer

from elmokit.errors import FormatError
from elmokit.training.checkpoint import load_state, optimizer_tensors, restore_optimizers, save_state
from elmokit.training.optimizers import modern_optimizers, reference_optimizers

TENSORS = {
    "weights": torch.randn(3, 4),
    "view": torch.randn(5, 2, 3)[-1],
    "turned": torch.randn(2, 3).T,
    "nothing": torch.empty(4, 0, dtype=torch.int64),
    "random": torch.get_rng_state(),
    "learned": nn.Parameter(torch.ones(2)),
}
NUMBERS = {"progress": {"steps": 3, "seconds": 0.1}, "place": [2, 17]}


def test_round_trip(tmp_path: Path) -> None:
    save_state(tmp_path / "state.safetensors", TENSORS, NUMBERS)
    tensors, numbers = load_state(tmp_path / "state.safetensors")
    assert numbers == NUMBERS
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype
        assert not tensors[name].requires_grad


def test_a_failed_write_leaves_the_old_state(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    path = tmp_path / "state.safetensors"
    save_state(path, TENSORS, NUMBERS)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            save_state(path, {"weights": torch.ones(1000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["cut", "cut in the header", "empty", "garbage", "other"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, TENSORS, NUMBERS)
    whole = path.read_bytes()
    contents = {"cut": whole[:-7], "cut in the header": whole[:40], "empty": b"", "garbage": b"\x00\xff" * 500}
    if kind == "other":
        save_file({"weights": torch.ones(2)}, path)  # a file of the right format, but no state
    else:
        path.write_bytes(contents[kind])
    with pytest.raises(FormatError, match="state.safetensors: not a training state of elmokit, or damaged") as caught:
        load_state(path)
    assert "--resume never" in str(caught.value)


def problem() -> tuple[list[nn.Parameter], list[Optimizer]]:
    """Two parameters and all three kinds of optimizers."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(4, 3)) for _ in range(3)]
    return parameters, [*modern_optimizers(parameters[:1], parameters[1:2], 0.01), *reference_optimizers(parameters[2:], 0.2)]


def steps(parameters: list[nn.Parameter], optimizers: list[Optimizer], numbers: range) -> None:
    """Go down different slopes."""
    for number in numbers:
        for parameter in parameters:
            parameter.grad = torch.sin(parameter.detach() * number + number)
        for optimizer in optimizers:
            optimizer.step()


def test_optimizers_go_on_exactly(tmp_path: Path) -> None:
    whole, optimizers = problem()
    steps(whole, optimizers, range(4))
    weights = {f"model.{i}": parameter for i, parameter in enumerate(whole)}
    save_state(tmp_path / "state", {**weights, **optimizer_tensors(optimizers)}, {})
    steps(whole, optimizers, range(4, 9))

    tensors, _ = load_state(tmp_path / "state")
    resumed, optimizers = problem()
    with torch.no_grad():
        for i, parameter in enumerate(resumed):
            parameter.copy_(tensors[f"model.{i}"])
    restore_optimizers(optimizers, tensors)
    steps(resumed, optimizers, range(4, 9))
    assert all(map(torch.equal, resumed, whole))
