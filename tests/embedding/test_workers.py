"""Worker processes: what they answer, and how they end."""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from elmokit.embedding.workers import Ask, Crew, Handler, Note, crew_of
from elmokit.errors import FormatError

ROOT = Path(__file__).parent.parent.parent
ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture(autouse=True)
def tests_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker is to make is named by its module, which is this one."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)


def make(factor: int = 1) -> Handler:
    """Make a worker that does what a task's first word says."""
    if factor == 0:
        raise FormatError("made of nothing")

    def handle(task: Any, note: Note) -> Any:
        name, *rest = task
        if name == "scale":
            return factor * rest[0]
        if name == "pid":
            return os.getpid()
        if name == "tell":
            note(rest[0])
            warnings.warn("mind this", stacklevel=1)
            return None
        if name == "print":
            print("not an answer")
            os.write(1, b"nor this")
            return sys.stdin.read()
        if name == "raise":
            raise rest[0]
        if name == "die":
            os._exit(3)
        time.sleep(rest[0])
        return "awake"

    return handle


@pytest.fixture
def crew() -> Iterator[Crew]:
    with Crew(2) as crew:
        crew.begin(partial(make, 10))
        yield crew


def ask(crew: Crew, *task: Any) -> Any:
    return crew.run(lambda ask: ask(task)).result(timeout=60)


def test_answers(crew: Crew) -> None:
    futures = [crew.run(lambda ask, n=n: ask(("scale", n))) for n in range(20)]  # type: ignore[misc]  # mypy does not infer a default's type
    assert [future.result(timeout=60) for future in futures] == [10 * n for n in range(20)]
    assert len({ask(crew, "pid") for _ in range(10)} - {os.getpid()}) == 2


def test_arrays_come_back_as_they_were(crew: Crew) -> None:
    array = np.random.default_rng(1).standard_normal((3, 500, 7)).astype(np.float32)
    found = ask(crew, "scale", array)
    assert found.dtype == np.float32
    assert np.array_equal(found, 10 * array)
    found[0] = 0  # it is ours to change


def test_room_for_arrays_is_asked_for() -> None:
    sizes = []

    def room(size: int) -> bytearray:
        sizes.append(size)
        return bytearray(size)

    with Crew(1) as crew:
        crew.room = room
        crew.begin(make)
        ask(crew, "scale", [np.zeros(5, np.float32), np.zeros((2, 3), np.float32)])
    assert sizes == [20, 24]


def test_notes_and_warnings_come_first(crew: Crew) -> None:
    told: list[Any] = []
    crew.note = told.append
    with pytest.warns(UserWarning, match="mind this"):
        assert ask(crew, "tell", {"so far": 5}) is None
    assert told == [{"so far": 5}]


def test_what_a_worker_prints_is_no_answer(crew: Crew, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(crew, "print") == ""  # and nothing is left to read
    assert capfd.readouterr().out == ""


def test_an_error_is_raised_here_as_it_was_there(crew: Crew) -> None:
    with pytest.raises(FormatError, match="line 5: damaged") as raised:
        ask(crew, "raise", FormatError("in.txt, line 5: damaged"))
    assert "in a worker process: Traceback" in raised.value.__notes__[0]
    with pytest.raises(OSError, match="No space left") as full:
        ask(crew, "raise", OSError(28, os.strerror(28), "out.h5"))
    assert (full.value.errno, full.value.filename) == (28, "out.h5")
    assert ask(crew, "scale", 1) == 10


class Stubborn(Exception):
    """Cannot be made again from what it says."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def make_stubborn() -> Handler:
    raise Stubborn(1, 2)


def test_an_error_that_cannot_be_sent_is_described() -> None:
    with Crew(1) as crew, pytest.raises(RuntimeError, match="Stubborn: 1 and 2"):
        crew.begin(make_stubborn)


def test_a_module_that_is_not_there_is_said() -> None:
    with Crew(1, "elmokit.nothing") as crew:
        time.sleep(1.5)  # it has failed by then, and must still be there to say so
        with pytest.raises(ModuleNotFoundError, match=r"elmokit\.nothing"):
            crew.begin(make)


def test_workers_have_one_job(crew: Crew) -> None:
    with pytest.raises(ValueError, match="these workers have a job already: start new ones for another"):
        crew.begin(make)
    assert ask(crew, "scale", 1) == 10


@ON_POSIX
def test_an_interrupt_while_they_start_leaves_none() -> None:
    """It comes as soon as the first one is there, in a program of a single thread, as `elmo` is then."""
    program = """
import os, signal
from elmokit.embedding import workers
started, start = [], workers._start
def interrupted(module):
    started.append(start(module))
    os.kill(os.getpid(), signal.SIGINT)
    return started[-1]
workers._start = interrupted
try:
    workers.Crew(2)
except KeyboardInterrupt:
    print([worker.returncode is not None for worker in started])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[True, True]\n"


def test_one_process_needs_no_worker() -> None:
    with crew_of(1) as nobody:
        assert nobody is None
    with crew_of(2) as crew:
        assert crew is not None
        assert crew.count == 2
    with pytest.raises(ValueError, match="--workers must be 1 or more, not 0"):
        crew_of(0)


def test_an_error_of_getting_ready() -> None:
    with Crew(2) as crew, pytest.raises(FormatError, match="made of nothing"):
        crew.begin(partial(make, 0))


@ON_POSIX
def test_a_worker_that_was_killed(crew: Crew) -> None:
    def kill_and_ask(ask: Ask) -> None:
        os.kill(ask(("pid",)), signal.SIGKILL)
        ask(("scale", 1))

    with pytest.raises(ValueError, match="a worker process was ended by SIGKILL; if memory ran out, fewer --workers"):
        crew.run(kill_and_ask).result(timeout=60)


@ON_POSIX
def test_a_worker_that_is_killed_at_work(crew: Crew) -> None:
    future = crew.run(lambda ask: ask(("sleep", 100)))
    for worker in crew._workers:
        worker.kill()
    with pytest.raises(ValueError, match="was ended by SIGKILL"):
        future.result(timeout=60)


def test_a_worker_that_ended_by_itself(crew: Crew) -> None:
    with pytest.raises(ValueError, match="a worker process ended with status 3;"):
        ask(crew, "die")


@ON_POSIX
def test_no_interrupt_reaches_a_worker(crew: Crew) -> None:
    pid = ask(crew, "pid")
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert {ask(crew, "scale", n) for n in range(6)} == {0, 10, 20, 30, 40, 50}
    assert psutil.pid_exists(pid)


def test_workers_end_with_the_block_whatever_they_do() -> None:
    began = time.monotonic()
    with Crew(2) as crew:
        crew.begin(make)
        pids = [worker.pid for worker in crew._workers]
        waiting = [crew.run(lambda ask: ask(("sleep", 100))) for _ in range(4)]
    assert time.monotonic() - began < 60
    assert all(future.done() for future in waiting)
    assert not any(psutil.pid_exists(pid) for pid in pids)


@ON_POSIX
def test_workers_end_when_nobody_is_left_to_ask() -> None:
    program = (
        "from elmokit.embedding.workers import Crew\n"
        "from tests.embedding.test_workers import make\n"
        "import time\n"
        "crew = Crew(2)\n"
        "crew.begin(make)\n"
        "print(*(worker.pid for worker in crew._workers), flush=True)\n"
        "time.sleep(100)\n"
    )
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        workers = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        process.kill()
        assert process.stderr.read() == ""  # the workers' too, which end without a word
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]
