"""The package as a whole: what it exports, how light it is, whom it speaks to."""

import ast
import importlib.metadata
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import elmokit

# Raises on the first connection, look-up or datagram that leaves the machine, whichever library makes it.
GUARD = """
import sys
def guard(event, details):
    host = {"socket.connect": lambda: details[1], "socket.sendto": lambda: details[1], "socket.getaddrinfo": lambda: details}
    if event in host:
        address = host[event]()
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost", "", None):
            raise SystemExit(f"opened a socket to {address[0]}")
sys.addaudithook(guard)
"""


def run_python(code: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder, timeout=200)


def test_all_is_sorted_and_every_name_loads() -> None:
    assert elmokit.__all__ == sorted(elmokit.__all__)
    for name in elmokit.__all__:
        assert getattr(elmokit, name) is not None
    assert set(elmokit.__all__) <= set(dir(elmokit))


def test_all_holds_every_public_name() -> None:
    """What type checkers see, what is loaded at run time and what is exported are the same names from the same modules."""
    tree = ast.parse(Path(elmokit.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name: (node.module or "").removeprefix("elmokit.")
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == elmokit._HOMES
    assert {*typed, "__version__"} == set(elmokit.__all__)


def test_a_public_name_is_defined_where_it_is_said_to_be() -> None:
    for name, home in elmokit._HOMES.items():
        assert getattr(elmokit, name).__module__ == f"elmokit.{home}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Elmoo"):
        _ = elmokit.Elmoo  # type: ignore[attr-defined]  # that it is unknown is the point


def test_version_is_that_of_the_installed_package() -> None:
    assert elmokit.__version__ == importlib.metadata.version("elmokit")


@pytest.mark.parametrize("statement", ["import elmokit", "import elmokit.cli.main", "from elmokit import Token, WordBatch"])
def test_imports_that_need_no_torch_do_not_load_it(statement: str) -> None:
    result = run_python(f"{statement}; import sys; print('torch' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr


def test_no_test_reaches_another_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock, pytest.raises(OSError, match="loopback"):
        sock.connect(("192.0.2.1", 9))


def test_the_guard_of_the_next_test_sees_a_connection() -> None:
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(('192.0.2.1', 9))"
    assert "192.0.2.1" in run_python(GUARD + code).stderr


@pytest.mark.parametrize(
    "arguments", [["demo"], ["info", "en-small"], ["models"], ["embed", "in.txt", "out.h5"]], ids=lambda words: words[0]
)
def test_a_command_opens_no_connection(tmp_path: Path, arguments: Sequence[str]) -> None:
    (tmp_path / "in.txt").write_text("I sat by the river bank .\n", encoding="utf-8")
    code = GUARD + "from elmokit.cli.main import main; sys.exit(main(sys.argv[1:]))"
    result = run_python(code, *arguments, folder=tmp_path)
    assert result.returncode == 0, result.stderr
