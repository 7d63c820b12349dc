"""Both files of constraints go with `pyproject.toml`: `make test-oldest` would else not test the versions that it promises."""

import itertools
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tests.conftest import ROOT


def direct() -> Iterator[Requirement]:
    """What `pyproject.toml` names: for building, for running, in extras."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        told = tomllib.load(file)
    project = told["project"]
    named = [told["build-system"]["requires"], project["dependencies"], *project["optional-dependencies"].values()]
    for text in itertools.chain.from_iterable(named):
        requirement = Requirement(text)
        if requirement.name != "elmokit":
            yield requirement


def pinned(file: str) -> dict[str, Version]:
    """The version that a file of constraints gives each package, whatever the machine."""
    lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pins}


REQUIREMENTS = {requirement.name: requirement for requirement in direct()}


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_the_oldest_version_is_the_floor(name: str) -> None:
    [floor] = REQUIREMENTS[name].specifier
    assert floor.operator == ">="
    assert pinned("constraints-oldest.txt")[canonicalize_name(name)] == Version(floor.version)


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_the_version_that_we_test_with_is_allowed(name: str) -> None:
    assert pinned("constraints.txt")[canonicalize_name(name)] in REQUIREMENTS[name].specifier
