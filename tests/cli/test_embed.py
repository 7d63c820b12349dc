"""`elmo embed` as a program: one line for what is wrong, and the old file or the new one whatever happens."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from elmokit.cli import embed
from elmokit.cli.main import main

PROGRAM = [sys.executable, "-c", "import sys; from elmokit.cli.main import main; sys.exit(main())", "embed"]
SIGNALS = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
FORMATS = ["h5", "parquet", "jsonl"]


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "in.txt").write_text("I sat by the river bank .\n\nBank !\n")
    return str(tmp_path / "in.txt")


def the_one_line(capsys: pytest.CaptureFixture[str]) -> str:
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


def test_a_file_in_a_file_out(model: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", source, str(tmp_path / "out.h5"), "--model", model]) == 0
    assert capsys.readouterr() == ("", "")
    with h5py.File(tmp_path / "out.h5") as file:
        assert [file[n].shape for n in "012"] == [(3, 7, 12), (3, 0, 12), (3, 2, 12)]


def test_layers_by_name_or_number(model: str, source: str, tmp_path: Path) -> None:
    for layers in ("top", "2", "mean"):
        assert main(["embed", source, str(tmp_path / "out.h5"), "--model", model, "--layers", layers]) == 0
        with h5py.File(tmp_path / "out.h5") as file:
            assert file["0"].shape == (7, 12)


def test_the_command_is_a_function(model: str, source: str, tmp_path: Path) -> None:
    embed(source, tmp_path / "out.jsonl", model=model, pooling="mean", dtype="float16")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3


def test_standard_input(model: str, tmp_path: Path) -> None:
    command = [*PROGRAM, "-", str(tmp_path / "out.h5"), "--model", model]
    subprocess.run(command, input=b"one sentence\nanother", check=True, timeout=100)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["1"].shape == (3, 1, 12)


def test_nothing_on_standard_input(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(["embed", "-", str(tmp_path / "out.h5"), "--model", model]) == 2
    assert the_one_line(capsys) == "elmo: -: no word in it, there is nothing to embed\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.txt", "out.h5"], "missing.txt: no such file"),
        (["folder", "out.h5"], "folder: is a folder"),
        (["in.txt", "out.xyz"], "unknown extension; the output ends in .h5, .parquet, .jsonl, or is a folder with --format"),
        (["in.txt", "out.h5", "--batch-tokens", "-1"], "--batch-tokens must be 1 or more, not -1"),
        (["in.txt", "out.h5", "--batch-tokens", "many"], "batch-tokens"),
        (["in.txt", "out.h5", "--model", "none-such"], "none-such: no such model, file or folder"),
        (["in.txt", "out.h5", "--model", "{model}", "--layers", "-1"], "layers=-1: a negative layer"),
        (["in.txt", "out.h5", "--layers", "last"], "layers"),
        (["in.txt", "out.h5", "--tokeniser", "words"], "--tokeniser"),
        (["in.txt", "out.h5", "--part-sentences", "5"], "--part-sentences is for parts; give their format with --format"),
        (["in.txt", "out.h5", "--column", "text"], "--column and --id-column are for .csv"),
        (["in.csv", "out.h5"], "say with --column which column holds the texts"),
        (["in.csv", "out.h5", "--column", "txt"], "no column 'txt'; there are text, id"),
        (["in.csv", "out.h5", "--column", "text", "--id-column", "ids"], "no column 'ids'"),
        (["in.txt"], "output"),
    ],
)
def test_what_is_wrong_takes_one_line(
    words: list[str],
    message: str,
    model: str,
    source: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "in.csv").write_text("text,id\na,1\n")
    (tmp_path / "out.h5").write_text("old")
    monkeypatch.chdir(tmp_path)
    assert main(["embed", *(word.format(model=model) for word in words)]) == 2
    assert message.lower() in the_one_line(capsys).lower()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "in.csv", "in.txt", "out.h5"]
    assert (tmp_path / "out.h5").read_text() == "old"


@pytest.fixture
def long_source(tmp_path: Path) -> str:
    """Seconds of work for the small model."""
    (tmp_path / "long.txt").write_text("".join(" ".join(f"w{n % 97}" for n in range(k % 30)) + "\n" for k in range(4000)))
    return str(tmp_path / "long.txt")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 300 kB."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("long_source", "full_disk")
@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_the_old_file(
    model: str, long_source: str, tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / f"out.{format}"
    target.write_text("old")
    assert main(["embed", long_source, str(target), "--model", model, "--batch-tokens", "2000"]) == 2
    assert the_one_line(capsys) == f"elmo: {target}: the file would be larger than is allowed here; choose another place\n"
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.txt", target.name]


@pytest.fixture
def running(model: str, long_source: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A run in the midst of writing over an old file."""
    target = tmp_path / f"out.{request.param}"
    target.write_text("old")
    command = [*PROGRAM, long_source, str(target), "--model", model, "--batch-tokens", "200"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        deadline = time.monotonic() + 100
        while not any(path.stat().st_size > 20_000 for path in tmp_path.glob(f".*.out.{request.param}")):
            assert process.poll() is None, "it ended before it was interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
        process.kill()


@SIGNALS
@pytest.mark.parametrize(("number", "status", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
@pytest.mark.parametrize("running", ["h5", "parquet"], indirect=True)
def test_an_interrupt_leaves_the_old_file(
    running: subprocess.Popen[str], tmp_path: Path, number: str, status: int, said: str
) -> None:
    running.send_signal(getattr(signal, number))
    _, errors = running.communicate(timeout=100)
    assert running.returncode == status
    assert errors == f"elmo: {said}\n"
    [target] = tmp_path.glob("out.*")
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.txt", target.name]


@SIGNALS
@pytest.mark.parametrize("running", ["jsonl"], indirect=True)
def test_being_killed_leaves_the_old_file(running: subprocess.Popen[str], tmp_path: Path) -> None:
    running.kill()
    running.wait(timeout=100)
    assert (tmp_path / "out.jsonl").read_text() == "old"
