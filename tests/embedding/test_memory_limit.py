"""Too little memory in earnest: processes that may take so much and no more."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its address space")

PRELUDE = """
import json, resource, sys, warnings
from pathlib import Path
import torch
from elmokit import Elmo, ElmoConfig
from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.kernels.engine import Engine

def leave(megabytes):
    size = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize"))
    most = int(size.split()[1]) * 1024 + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

def model(cells, width):
    cnn = CharCnnConfig(filters=((1, 16), (2, 16)), highways=1)
    return Elmo.from_config(ElmoConfig(bilm=BiLMConfig(char_cnn=cnn, cell_dim=cells, projection_dim=width)))

given = json.loads(sys.argv[1])
torch.set_num_threads(given.get("threads", 1))
"""

ENCODE = (
    PRELUDE
    + """
elmo = model(given["cells"], given["width"])
elmo.engine = Engine(elmo.bilm, given.get("precision", "float32"))
sentences = [[f"w{row}"] * given["words"] for row in range(given["rows"])]
expected = elmo.encode(sentences[:8])
found = {}
leave(given["megabytes"])
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        vectors = elmo.encode(sentences, batch_tokens=10**9)
        found["worst"] = float(abs(vectors[:8] - expected).max())
        found["all_there"] = bool(abs(vectors).sum(1).min() > 0) and len(vectors) == len(sentences)
    except Exception as error:
        found["error"], found["message"] = type(error).__name__, str(error)
found["warnings"] = [str(warning.message) for warning in said]
print(json.dumps(found))
"""
)


def run(script: str, **given: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", script, json.dumps(given)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)


def encode(**given: Any) -> dict[str, Any]:
    done = run(ENCODE, **given)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def check_that_it_went_on(found: dict[str, Any]) -> None:
    assert found.get("message") is None
    assert found["warnings"]
    assert all(said.startswith("out of memory: going on with batch_tokens=") for said in found["warnings"])
    assert found["worst"] <= 1e-4
    assert found["all_there"]


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    """All at once: 100,000 tokens, of which each layer has 25 MB and more."""
    check_that_it_went_on(encode(cells=64, width=32, rows=1000, words=98, megabytes=64))


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_so_it_is_with_packed_weights_and_with_two_threads(precision: str, threads: int) -> None:
    shape = {"cells": 1024, "width": 128, "rows": 1500, "words": 38}
    check_that_it_went_on(encode(**shape, precision=precision, threads=threads, megabytes=200))
