"""Where PyTorch's private operators are missing, or the processor has no code for them, all goes through plain products.

Other machines are played by this one: their PyTorch has no such operators or others of the same name, or oneDNN is told to
leave a processor's newer instructions alone. Same bounds, same recorded numbers.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import pytest
import torch
from tests.conftest import ROOT
from tests.kernels.test_engine import ERROR, SMALL, bilm_of, prepared, run

from elmokit.kernels import products
from elmokit.kernels.engine import Engine
from elmokit.kernels.float_products import packed_bfloat16_works, packed_float32_works
from elmokit.kernels.int8_products import X86, packed_int8_works, signed_int8_works
from elmokit.kernels.products import Precision
from elmokit.text.batch import word_batch

PROBES: dict[Precision, Callable[[], bool]] = {
    "float32": packed_float32_works,
    "bfloat16": packed_bfloat16_works,
    "int8": packed_int8_works,
}
USED_BY: dict[str, list[Precision]] = {
    "mkldnn._reorder_linear_weight": ["float32", "bfloat16"],
    "mkldnn._linear_pointwise": ["float32", "bfloat16"],
    "mkldnn._linear_pointwise.binary": ["float32"],
    "mkldnn._is_mkldnn_bf16_supported": ["bfloat16"],
    "onednn.qlinear_prepack": ["int8"],
    "onednn.qlinear_pointwise": ["int8"],
    "onednn.qlinear_pointwise.binary": ["int8"],
}
"""Every private operator and overload, and the precisions that must do without it."""


@pytest.fixture(autouse=True)
def _look_again() -> Iterator[None]:
    """Forget afterwards what was found out of a machine that was played."""
    yield
    for probe in (*PROBES.values(), signed_int8_works):
        probe.cache_clear()  # type: ignore[attr-defined]  # they are cached


class Changed:
    """A library of operators, or an operator with its overloads, of which one is not what it was."""

    def __init__(self, original: Any, name: str, instead: Callable[..., object] | None) -> None:
        self.original, self.name, self.instead = original, name, instead

    def __call__(self, *arguments: object) -> object:
        return self.original(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name != self.name:
            return getattr(self.original, name)
        if self.instead is None:
            raise AttributeError(f"'{self.original}' has no attribute '{name}'")  # as PyTorch says it
        return self.instead


def has_other_parameters(*_: object) -> NoReturn:
    raise RuntimeError("onednn::qlinear_pointwise() expected at most 9 argument(s) but received 13 argument(s)")


def has_no_code(*_: object, **__: object) -> NoReturn:
    raise NotImplementedError("Could not run 'onednn::qlinear_prepack' with arguments from the 'CPU' backend.")


def gives_nonsense(*arguments: Any, **_: object) -> torch.Tensor:
    return torch.full((len(arguments[0]), 32), 7.0, dtype=torch.float32)


CASES = [
    (name, instead)
    for name in USED_BY
    for instead in (None, has_other_parameters, has_no_code, gives_nonsense)
    if instead is None or not name.endswith("_supported")  # which takes nothing and runs anywhere
]


def change(patch: pytest.MonkeyPatch, name: str, instead: Callable[..., object] | None) -> None:
    """Replace one operator or overload, or leave it out."""
    library, operator, *overload = name.split(".")
    whole = getattr(torch.ops, library)
    if not hasattr(whole, operator):
        pytest.skip("this PyTorch does not have it anyway")
    if overload:
        patch.setattr(torch.ops, library, Changed(whole, operator, Changed(getattr(whole, operator), overload[0], instead)))
    else:
        patch.setattr(torch.ops, library, Changed(whole, operator, instead))


def check_engine(precision: Precision) -> None:
    """Compare layers with the biLM's own, as `test_engine.py` does."""
    bilm, batch = bilm_of(SMALL), word_batch([["a", "bank", "of", "银行"], ["x" * 60], []])
    found, _ = run(prepared(bilm, precision), batch)
    expected, _ = run(Engine(bilm), batch)
    assert not ((found - expected).abs() > ERROR[precision]).any()


@pytest.mark.parametrize(("name", "instead"), CASES)
def test_one_operator_is_not_what_it_was(
    name: str, instead: Callable[..., object] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {precision: probe() for precision, probe in PROBES.items()}
    change(monkeypatch, name, instead)
    monkeypatch.setattr(products, "WORTH_PACKING", 0)
    for precision, probe in PROBES.items():
        probe.cache_clear()  # type: ignore[attr-defined]  # they are cached
        assert probe() == (before[precision] and precision not in USED_BY[name])
        check_engine(precision)


@pytest.mark.parametrize("instead", [None, has_no_code, gives_nonsense])
def test_a_single_row_of_bytes_without_its_operator(
    instead: Callable[..., object] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_int8_works.cache_clear()
    if instead is None:
        monkeypatch.delattr(torch, "_int_mm")
    else:
        monkeypatch.setattr(torch, "_int_mm", instead)
    assert not signed_int8_works()
    check_engine("int8")


def test_bytes_are_not_left_to_processors_that_add_them_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    packed_int8_works.cache_clear()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert not packed_int8_works()
    check_engine("int8")


class Machine(NamedTuple):
    """Another machine, played by a Python of its own."""

    instructions: str
    """The newest that oneDNN may use."""
    change: str
    """Code that takes away what its PyTorch has not."""
    works: list[Precision]
    """Precisions whose packed products may work on it."""


MACHINES = {
    "ARM, macOS: a PyTorch without oneDNN": Machine(
        "DEFAULT",
        "for library in ('mkldnn', 'onednn'): setattr(torch.ops, library, torch._ops._OpNamespace('of_another_machine'))\n"
        "torch.backends.mkldnn.set_flags(False)",
        [],
    ),
    "x86 of 2008": Machine("SSE41", "", ["float32"]),
    "x86 of 2013": Machine("AVX2", "", ["float32"]),
    "x86 of 2017": Machine("AVX512_CORE", "", ["float32", "bfloat16"]),
}
SCRIPT = """
import sys
import pytest, torch
from elmokit.kernels.float_products import packed_bfloat16_works, packed_float32_works
from elmokit.kernels.int8_products import packed_int8_works
{change}
works = [name for name in {precisions} if globals()[f"packed_{{name}}_works"]()]
if set(works) - set({works}):
    sys.exit(f"{{works}} works")
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def run_tests_on(name: str, *tests: str) -> str:
    """Run some tests on a machine; gives the last line of what they print."""
    machine = MACHINES[name]
    if machine.works and platform.machine().lower() not in X86:
        pytest.skip("this processor cannot play an older one of another kind")
    script = SCRIPT.format(change=machine.change, precisions=list(PROBES), works=machine.works)
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": machine.instructions}
    result = subprocess.run(
        [sys.executable, "-c", script, *tests], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip().splitlines()[-1]


ROOMS = [f"tests/kernels/test_{name}.py" for name in ("products", "cpu_lstm", "words", "engine", "side_by_side")]
RECORDED = "tests/golden/test_kernel_cases.py"


@pytest.mark.parametrize("name", ["ARM, macOS: a PyTorch without oneDNN", "x86 of 2013"])
def test_the_engine_on_another_machine(name: str) -> None:
    chosen = "(layers_and_states and two) or tiny"
    assert run_tests_on(name, "tests/kernels/test_engine.py", RECORDED, "-k", chosen).startswith("6 passed")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MACHINES)
def test_every_promise_of_the_kernels_on_another_machine(name: str) -> None:
    assert " passed" in run_tests_on(name, *ROOMS, RECORDED)
