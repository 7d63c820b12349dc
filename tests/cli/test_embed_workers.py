"""`elmo embed --workers`: the same files as without, and nothing left of whatever ends it, with real processes."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from elmokit.cli.main import main
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.embed import EmbedOptions, embed_file
from elmokit.embedding.workers import Crew

PROGRAM = [sys.executable, "-c", "import sys; from elmokit.cli.main import main; sys.exit(main())", "embed"]
SIGNALS = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Some chunks of 400 tokens."""
    lines = (" ".join(f"w{n % 97}" for n in range(k % 30)) for k in range(200))
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "in.txt")


@pytest.fixture
def long_source(tmp_path: Path) -> str:
    """Seconds of work for the small model."""
    (tmp_path / "long.txt").write_text("".join(" ".join(f"w{n % 97}" for n in range(k % 30)) + "\n" for k in range(3000)))
    return str(tmp_path / "long.txt")


def vectors(path: Path) -> dict[str, NDArray[np.float32]]:
    """All of a file."""
    with h5py.File(path) as file:
        return {name: np.asarray(file[name]) for name in file if name.isdigit()}


def test_a_file_is_the_same_with_workers(model: str, source: str, tmp_path: Path) -> None:
    """Its lines come from standard input, its vectors from two processes that have many chunks to put in order."""
    options = ["--model", model, "--batch-tokens", "100"]
    assert main(["embed", source, str(tmp_path / "one.h5"), *options]) == 0
    command = [*PROGRAM, "-", str(tmp_path / "two.h5"), *options, "--workers", "2", "--progress"]
    done = subprocess.run(command, input=Path(source).read_bytes(), check=True, timeout=200, capture_output=True)
    one, two = vectors(tmp_path / "one.h5"), vectors(tmp_path / "two.h5")
    assert list(two) == list(one)
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=1e-5)
    tokens = sum(k % 30 for k in range(200))
    assert f"elmo: {tokens:,} tokens in" in done.stderr.decode()
    assert "; 0% of the distinct words" not in done.stderr.decode()
    assert done.stdout == b""


def test_a_bad_line_is_said_as_without_workers(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.h5"
    target.write_text("old")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a good line\n" * 300 + b"b\xffd\n")))
    before = psutil.Process().children()
    assert main(["embed", "-", str(target), "--model", model, "--batch-tokens", "50", "--workers", "2"]) == 2
    assert capfd.readouterr().err == "elmo: -, line 301: byte 2 is not UTF-8; convert the file to UTF-8\n"
    assert psutil.Process().children() == before
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_errors_of_workers_are_ours(
    source: str, tmp_path: Path, model: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker writes the parts: here it may write no large file."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        words = ["embed", source, str(tmp_path / "parts"), "--format", "h5", "--part-sentences", "50", "--model", model]
        assert main([*words, "--workers", "2"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    expected = f"elmo: {tmp_path}/parts: the file would be larger than is allowed here; choose another place\n"
    assert capfd.readouterr().err == expected
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["manifest.json"]


def test_a_model_in_memory_has_no_workers(source: str, tmp_path: Path) -> None:
    elmo = Elmo.from_config(ElmoConfig(bilm=BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 8),)), cell_dim=8, projection_dim=4)))
    with Crew(2) as crew, pytest.raises(ValueError, match="workers read the model for themselves: give its name or path"):
        embed_file(source, tmp_path / "out.h5", elmo, EmbedOptions(), crew=crew)


def begun(words: list[str], is_so: Callable[[], bool]) -> "subprocess.Popen[str]":
    """Start `elmo embed` and wait until something is so."""
    process = subprocess.Popen(
        [*PROGRAM, *words], stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    deadline = time.monotonic() + 100
    while not is_so():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@SIGNALS
def test_a_killed_worker_ends_the_job_which_can_be_resumed(model: str, long_source: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    words = [long_source, str(folder), "--model", model, "--format", "jsonl", "--part-sentences", "500", "--batch-tokens", "200"]
    with begun([*words, "--workers", "2"], lambda: (folder / "part-00001.jsonl").exists()) as process:
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 2
        workers[0].kill()
        _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert errors == (
        "elmo: a worker process was ended by SIGKILL; if memory ran out, fewer --workers or a smaller --batch-tokens need less\n"
    )
    assert not any(worker.is_running() for worker in workers)
    assert not list(folder.glob(".*"))
    done = {path: path.stat().st_mtime_ns for path in folder.glob("part-*")}
    assert 0 < len(done) < 6
    assert main(["embed", *words, "--workers", "2", "--resume"]) == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done
    lines = [json.loads(line) for path in sorted(folder.glob("part-*")) for line in path.read_text().splitlines()]
    assert [line["tokens"] for line in lines] == [text.split() for text in Path(long_source).read_text().splitlines()]
    assert all(len(line["vectors"]) == len(line["tokens"]) for line in lines)


@SIGNALS
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [("SIGINT", 130, "interrupted"), pytest.param("SIGTERM", 143, "terminated", marks=pytest.mark.slow)],
)
def test_an_interrupt_ends_all(model: str, long_source: str, tmp_path: Path, number: str, status: int, said: str) -> None:
    """A terminal sends it to all processes of the group."""
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    words = [long_source, str(target), "--model", model, "--batch-tokens", "200", "--workers", "2"]
    with begun(words, lambda: any(path.stat().st_size > 20_000 for path in tmp_path.glob(".*.out.jsonl"))) as process:
        workers = psutil.Process(process.pid).children()
        os.killpg(process.pid, getattr(signal, number))
        _, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (status, f"elmo: {said}\n")
    assert not any(worker.is_running() for worker in workers)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.txt", "out.jsonl"]
