"""Damaged HDF5 files, in a process apart: libhdf5 itself may crash or hang on them, which no `except` could catch.

None of these did. Where one does after all, the count of the copy that it died of is in the message.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests/golden/data/models/random_tiny"
SECONDS = 300
"""For all copies together; a whole run takes a tenth of it."""


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("cuts", 40),
        ("flips", 150),
        pytest.param("cuts", 200, marks=pytest.mark.slow),
        pytest.param("flips", 1000, marks=pytest.mark.slow),
    ],
)
def test_damaged_copies_are_refused_or_load_whole(kind: str, number: int, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(TINY, model)
    weights = model / "weights.hdf5"
    command = [sys.executable, "-m", "tests.checkpoints.hostile", str(weights), "0", kind, str(number), str(weights)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    lines = run.stdout.splitlines()
    assert run.returncode == 0, f"died with {run.returncode} of copy {lines[-1:]}: {run.stderr[-500:]}"
    outcomes = Counter(lines[1::2])
    assert sum(outcomes.values()) == number
    assert set(outcomes) <= {"refused", "loaded"}, outcomes
    assert outcomes["refused"] >= (number if kind == "cuts" else 1)
