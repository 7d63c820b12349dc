"""Names, arguments, defaults and state-dict keys are AllenNLP's."""

import ast
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.golden.cases import DATA

from elmokit.compat import allennlp

INTERFACE = json.loads((DATA / "allennlp_interface.json").read_text(encoding="utf-8"))


def recorded_arguments(signature: str) -> list[tuple[str, str | None]]:
    """Names and defaults in a recorded signature, `self` left out."""
    function = ast.parse(f"def f{signature}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    assert not arguments.vararg
    assert not arguments.kwarg
    assert not arguments.kwonlyargs
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + [ast.unparse(node) for node in arguments.defaults]
    names = [argument.arg for argument in arguments.args]
    return [pair for pair in zip(names, defaults, strict=True) if pair[0] != "self"]


def our_arguments(function: Callable[..., Any]) -> list[tuple[str, str | None]]:
    """The same of one of our functions or classes."""
    found: list[tuple[str, str | None]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        default = getattr(parameter.default, "__name__", None) or repr(parameter.default)
        found.append((name, None if parameter.default is parameter.empty else default))
    return [pair for pair in found if pair[0] != "self"]


@pytest.mark.parametrize("name", INTERFACE["signatures"])
def test_signature(name: str) -> None:
    function: Any = allennlp
    for part in name.split("."):
        function = getattr(function, part)
    assert our_arguments(function) == recorded_arguments(INTERFACE["signatures"][name])


def test_state_dict(tiny_files: tuple[str, str]) -> None:
    recorded = INTERFACE["state_dict of Elmo(random_tiny, 2 representations)"]
    elmo = allennlp.Elmo(*tiny_files, 2)
    assert {name: list(tensor.shape) for name, tensor in elmo.state_dict().items()} == recorded
    assert {str(tensor.dtype) for tensor in elmo.state_dict().values()} == {"torch.float32"}
    assert set(dict(elmo.named_parameters())) == set(recorded)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_learns(tiny_files: tuple[str, str], requires_grad: bool) -> None:
    elmo = allennlp.Elmo(*tiny_files, 1, requires_grad=requires_grad)
    learning = {name for name, parameter in elmo.named_parameters() if parameter.requires_grad}
    mix = {f"scalar_mix_0.{name}" for name in ("gamma", "scalar_parameters.0", "scalar_parameters.1", "scalar_parameters.2")}
    assert learning == (set(elmo.state_dict()) if requires_grad else mix)


def test_all_names_are_there() -> None:
    assert sorted(allennlp.__all__) == allennlp.__all__
    assert all(hasattr(allennlp, name) for name in allennlp.__all__)
