"""Two processes train as one does; a killed run ends with the numbers of one that was not."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pretraining.conftest import RECIPE, TINY, sentences

from elmokit.checkpoints.folder import load_folder
from elmokit.config import BiLMConfig
from elmokit.training.checkpoints import Checkpoints, State

RUN = """
import json, sys
from pathlib import Path
from elmokit.config import BiLMConfig, TextConfig
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.pretrain import pretrain
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import Recipe
from elmokit.training.budget import Budget
import torch
torch.set_num_threads(1)
given = json.loads(sys.argv[1])
pretrain(PretrainOptions(
    train=TextSource([given["corpus"]]), heldout=TextSource([given["heldout"]]), out=Path(given["out"]),
    bilm=BiLMConfig.from_dict(given["bilm"]), text=TextConfig(tokenizer="whitespace"), recipe=Recipe(**given["recipe"]),
    vocabulary_size=30, budget=Budget(steps=given["steps"]), checkpoint_minutes=given.get("minutes", 10),
    accumulate=given.get("accumulate", 1),
))
threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in threads if "gloo" in name], f"at the end of Python these would abort the process: {threads}"
"""


def given(tmp_path: Path, name: str, **changes: Any) -> dict[str, Any]:
    """Options of a run as text."""
    for file, number, seed in (("corpus.txt", 400, 0), ("heldout.txt", 60, 1)):
        if not (tmp_path / file).exists():
            (tmp_path / file).write_text("\n".join(sentences(number, seed)) + "\n", encoding="utf-8")
    recipe = replace(RECIPE, dropout=0.0)
    settings = {
        "corpus": str(tmp_path / "corpus.txt"),
        "heldout": str(tmp_path / "heldout.txt"),
        "out": str(tmp_path / name),
        "bilm": TINY.to_dict(),
        "recipe": asdict(recipe),
        "steps": 12,
    }
    return {**settings, **changes}


def started(options: dict[str, Any], rank: int = 0, count: int = 1, port: int = 0) -> "subprocess.Popen[str]":
    """A process that trains."""
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "localhost"}
    environment = os.environ | (place | {"MASTER_PORT": str(port)} if count > 1 else {})
    return subprocess.Popen([sys.executable, "-c", RUN, json.dumps(options)], env=environment, stderr=subprocess.PIPE, text=True)


def finished(process: "subprocess.Popen[str]") -> str:
    """Wait for it; what it said."""
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def run(options: dict[str, Any], count: int = 1) -> str:
    """Train in so many processes; what the first one said."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [started(options, rank, count, port) for rank in range(count)]
    said, *_ = [finished(process) for process in processes]
    return said


def last_state(options: dict[str, Any]) -> State:
    """The last checkpoint."""
    state = Checkpoints(Path(options["out"] + ".training") / "checkpoints").newest()
    assert state is not None
    return state


def largest_difference(one: State, two: State) -> float:
    """Over all weights and what the optimizers remember."""
    names = [name for name in one.tensors if name.startswith(("model.", "optimizer.", "state."))]
    assert len(names) > 20
    assert names == [name for name in two.tensors if name.startswith(("model.", "optimizer.", "state."))]
    return max(float((one.tensors[name].double() - two.tensors[name].double()).abs().max()) for name in names)


STILL = replace(RECIPE, dropout=0.0)
MODERN = replace(
    RECIPE,
    optimizer="modern",
    learning_rate=2e-3,
    schedule="trapezoid",
    clip_norm=1.0,
    dropout=0.0,
    fresh_sentences=True,
    character_noise=0.2,
)


@pytest.mark.parametrize(
    ("recipe", "bilm"),
    [(STILL, TINY), (replace(STILL, negatives=None), TINY), (MODERN, TINY), (MODERN, replace(TINY, bidirectional=False))],
    ids=["sampled", "full", "modern", "forward alone"],
)
def test_two_processes_are_one(tmp_path: Path, recipe: Any, bilm: BiLMConfig) -> None:
    changes = {"recipe": asdict(recipe), "bilm": bilm.to_dict()}
    alone, both = (given(tmp_path, name, **changes) for name in ("alone", "both"))
    run(alone)
    run(both, count=2)
    one, two = last_state(alone), last_state(both)
    assert largest_difference(one, two) < 2e-6
    assert one.numbers["consumed"] == two.numbers["consumed"], "the same text in the same order"
    first, second = load_folder(Path(alone["out"])), load_folder(Path(both["out"]))
    assert max(float((first.bilm[name] - second.bilm[name]).abs().max()) for name in first.bilm) < 2e-6


@pytest.mark.parametrize("bidirectional", [True, False])
def test_accumulated_parts_are_the_whole_batch(tmp_path: Path, bidirectional: bool) -> None:
    bilm = replace(TINY, bidirectional=bidirectional).to_dict()
    whole, parts = given(tmp_path, "whole", bilm=bilm), given(tmp_path, "parts", bilm=bilm, accumulate=4)
    run(whole)
    run(parts)
    assert largest_difference(last_state(whole), last_state(parts)) < 2e-6


def test_another_number_of_processes_goes_on(tmp_path: Path) -> None:
    whole, changed = given(tmp_path, "whole"), given(tmp_path, "changed", steps=5)
    run(whole)
    run(changed, count=2)
    said = run({**changed, "steps": 9})
    assert "going on from step 5" in said
    assert "2 process(es) before, 1 now" in said
    assert "1 process(es) before, 2 now" in run({**changed, "steps": 12}, count=2)
    assert last_state(whole).numbers["consumed"] == last_state(changed).numbers["consumed"]
    assert largest_difference(last_state(whole), last_state(changed)) < 2e-6


def test_rows_that_cannot_be_divided_are_one_error(tmp_path: Path) -> None:
    process = started(given(tmp_path, "model", accumulate=3))
    _, said = process.communicate(timeout=60)
    assert process.returncode
    assert "--accumulate (3) must divide the 4 streams" in said


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment(tmp_path: Path, kills: int) -> None:
    """With dropout, which draws random numbers, and a checkpoint after each step."""
    recipe = asdict(replace(RECIPE, dropout=0.2))
    steps = 60 * kills
    whole = given(tmp_path, "whole", recipe=recipe, steps=steps)
    killed = given(tmp_path, "killed", recipe=recipe, steps=steps, minutes=0)
    run(whole)
    chance, done, went_on = random.Random(kills), 0, 0
    folder = Path(killed["out"] + ".training")
    for _ in range(kills):
        process = started(killed)
        deadline = time.monotonic() + 60
        aim = done + chance.randint(1, 40)
        while _steps_noted(folder) < aim and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        went_on += "going on from step" in said
        noted = _steps_noted(folder)
        assert noted >= done, "no checkpoint is lost"
        done = noted
    said = finished(started(killed))
    assert f"going on from step {done:,}," in said
    assert done > 0
    assert went_on >= kills - 1
    one, two = last_state(whole), last_state(killed)
    assert one.numbers["consumed"] == two.numbers["consumed"], "no word was skipped or read twice"
    assert largest_difference(one, two) == 0
    first, second = load_folder(Path(whole["out"])), load_folder(Path(killed["out"]))
    assert all(torch.equal(first.bilm[name], second.bilm[name]) for name in first.bilm)


def _steps_noted(folder: Path) -> int:
    """After how many steps the newest checkpoint was noted."""
    notes = (folder / "checkpoints").glob("step-*.json") if (folder / "checkpoints").exists() else ()
    return max((int(path.stem.removeprefix("step-")) for path in notes), default=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, small_disk: Path) -> None:
    options = given(tmp_path, "model", steps=3, minutes=0)
    run({**options, "out": str(small_disk / "model")})
    checkpoints = small_disk / "model.training" / "checkpoints"
    with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"x" * 1000):
            pass
    process = started({**options, "out": str(small_disk / "model"), "steps": 9})
    _, said = process.communicate(timeout=100)
    assert process.returncode, "the last checkpoint cannot be written"
    assert "no checkpoint was written, the disk is full" in said
    assert "the one before is kept, training goes on" in said
    assert "No space left on device" in said
    state = Checkpoints(checkpoints).newest()
    assert state is not None
    assert state.steps == 3
    (small_disk / "filler").unlink()
    assert "going on from step 3" in run({**options, "out": str(small_disk / "model"), "steps": 9})
    other = given(tmp_path, "other", steps=9)
    run(other)
    assert largest_difference(last_state({**options, "out": str(small_disk / "model")}), last_state(other)) == 0
