"""A run's checkpoints: whole ones are found, torn ones passed over, the last and the best kept."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from elmokit.training.checkpoints import Checkpoints


def saved(folder: Path, *steps: int, keep: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep)
    for number in steps:
        checkpoints.save(number, {"weights": torch.full((3,), float(number))}, {"number": number})
    return checkpoints


def steps_of(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.safetensors"))


def test_the_newest_one(tmp_path: Path) -> None:
    state = saved(tmp_path, 5, 12, 120).newest()
    assert state is not None
    assert (state.steps, state.numbers) == (120, {"number": 120})
    assert state.tensors["weights"].tolist() == [120] * 3


def test_nothing_yet(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "nowhere")
    assert checkpoints.newest() is None
    assert checkpoints.best() is None
    checkpoints.clear()


def test_the_last_ones_and_the_best_stay(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    checkpoints.judge(2, 50.0)
    for number in (3, 4, 5):
        saved(tmp_path, number)
        checkpoints.judge(number, 60.0)
    assert steps_of(tmp_path) == [2, 4, 5]
    best = checkpoints.best()
    assert best is not None
    assert best.steps == 2
    checkpoints.judge(5, 40.0)
    assert steps_of(tmp_path) == [4, 5]


def test_what_was_not_written_is_not_the_best(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    checkpoints.judge(2, 3.0)  # after a disk was full
    assert checkpoints.best() is None


@pytest.mark.parametrize("kind", ["cut", "changed", "no state", "no note", "note cut"])
def test_a_torn_one_is_passed_over(tmp_path: Path, kind: str) -> None:
    checkpoints = saved(tmp_path, 7, 8)
    state, note = tmp_path / "step-0000000008.safetensors", tmp_path / "step-0000000008.json"
    if kind == "cut":
        state.write_bytes(state.read_bytes()[:-4])
    elif kind == "changed":  # as when blocks of a file never reached the disk
        state.write_bytes(state.read_bytes()[:-4] + bytes(4))
    elif kind == "no state":
        state.unlink()
    elif kind == "no note":
        note.unlink()
    else:
        note.write_text(note.read_text(encoding="utf-8")[:5], encoding="utf-8")
    found = checkpoints.newest()
    assert found is not None
    assert found.steps == 7
    assert len(checkpoints.passed_over) == (0 if kind == "no note" else 1)
    saved(tmp_path, 9)
    assert steps_of(tmp_path)[-1] == 9


def test_what_killed_processes_leave_is_removed(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (tmp_path / ".12ab34cd.step-0000000002.safetensors").write_bytes(b"half")
    (tmp_path / "step-0000000003.safetensors").write_bytes(b"without a note")
    saved(tmp_path, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{number:010}.{kind}" for number in (1, 4) for kind in ("json", "safetensors")
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from elmokit.training.checkpoints import Checkpoints
calls = 0
def dying(real):
    def call(*arguments):
        global calls
        calls += 1
        if calls == int(sys.argv[2]) and sys.argv[3] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments)
        if calls == int(sys.argv[2]) and sys.argv[3] == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
checkpoints = Checkpoints(Path(sys.argv[1]), keep=1)
os.fsync, os.replace, os.unlink = dying(os.fsync), dying(os.replace), dying(os.unlink)
checkpoints.save(2, {"weights": torch.full((1000,), 2.0)}, {})
print(calls)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_between_any_two_writes(tmp_path: Path, moment: str) -> None:
    """Either the old checkpoint is whole or the new one; after the new one's note, always the new one."""
    ends = []
    for call in range(1, 20):
        folder = tmp_path / str(call)
        saved(folder, 1, keep=1)
        run = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(call), moment], capture_output=True, text=True, check=False
        )
        found = Checkpoints(folder).newest()
        assert found is not None
        ends.append(found.steps)
        assert set(found.tensors["weights"].tolist()) == {float(found.steps)}
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, run.stderr
    else:
        pytest.fail("more calls than this test tries")
    assert ends == sorted(ends)
    assert ends[0] == 1
    assert ends[-1] == 2
    assert int(run.stdout) == len(ends) - 1 >= 4, "fsync and rename of the state and of its note at the least"


def test_a_note_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "best.json").write_text(json.dumps([1]), encoding="utf-8")
    checkpoints = saved(tmp_path, 3)
    checkpoints.judge(3, 1.0)
    best = checkpoints.best()
    assert best is not None
    assert best.steps == 3


@pytest.mark.parametrize(
    ("there", "steps", "said"),
    [
        ((), 7, "begin anew with a lower --learning-rate and --resume never"),
        ((7,), 7, "begin anew"),
        ((1000, 2000), 2001, "the same command with a lower --learning-rate goes on from the last whole checkpoint, step 2,000"),
        ((1000, 2000), 2000, "spoilt; then the same command with a lower --learning-rate goes on from .*, step 1,000"),
        ((1000, 3000), 2001, "goes on from the last whole checkpoint, step 1,000"),
    ],
)
def test_the_way_back_of_a_run_whose_loss_is_no_number(tmp_path: Path, there: tuple[int, ...], steps: int, said: str) -> None:
    advice = saved(tmp_path, *there).way_back(steps)
    assert re.search(f"(^| ){said}$", advice) or advice.startswith(said)
    for name in re.findall(r"delete (\S+),", advice):  # and what is to be deleted is what stands in the way
        Path(name).unlink()
        newest = Checkpoints(tmp_path).newest()
        assert newest is not None
        assert newest.steps == there[0]


def test_the_way_back_passes_over_what_is_not_whole(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 4, 5)
    (tmp_path / "step-0000000005.safetensors").write_bytes(b"cut off")
    assert checkpoints.way_back(6).endswith("step 4")
