"""Too little memory in earnest: processes that may take so much and no more."""

import json
import subprocess
import sys
from pathlib import Path
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

def model(cells, width, precision="float32"):
    cnn = CharCnnConfig(filters=((1, 16), (2, 16)), highways=1)
    return Elmo.from_config(ElmoConfig(bilm=BiLMConfig(char_cnn=cnn, cell_dim=cells, projection_dim=width)), precision=precision)

given = json.loads(sys.argv[1])
torch.set_num_threads(given.get("threads", 1))
"""

ENCODE = (
    PRELUDE
    + """
elmo = model(given["cells"], given["width"], given.get("precision", "float32"))
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

EMBED = (
    PRELUDE
    + """
from elmokit.cli.main import main
import elmokit.cli.commands.embed, elmokit.embedding.embed
leave(given["megabytes"])
sys.exit(main(given["arguments"]))
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
    """All at once: 100,000 tokens, whose layers and what they are made of take 180 MB beside what must be left."""
    check_that_it_went_on(encode(cells=64, width=32, rows=1000, words=98, megabytes=256))


def test_where_nothing_fits_there_is_one_error() -> None:
    found = encode(cells=64, width=32, rows=20, words=20, megabytes=50)
    assert found["error"] == "MemoryError"
    assert found["message"].startswith("no room for a sentence of 20 tokens, 22 read at a time; free memory, cut the sentence, ")


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_so_it_is_with_packed_weights_and_with_two_threads(precision: str, threads: int) -> None:
    shape = {"cells": 1024, "width": 128, "rows": 1500, "words": 38, "precision": precision, "threads": threads}
    check_that_it_went_on(encode(**shape, megabytes=500))
    assert encode(**shape, megabytes=90)["error"] == "MemoryError"


@pytest.mark.slow
# Where some 50 MB are left, HDF5 now and then does not come back from closing its file: nothing here can help that.
@pytest.mark.parametrize("megabytes", [1000, 700, 400, 200, 100, 60, 10])
def test_embed_does_its_work_or_says_in_one_line_why_not(tmp_path: Path, megabytes: int) -> None:
    text, out = tmp_path / "in.txt", tmp_path / "out.h5"
    text.write_text("".join(f"word{n} " * (10 + n % 30) + "\n" for n in range(1500)))
    done = run(EMBED, arguments=["embed", str(text), str(out), "--batch-tokens", "1000000"], megabytes=megabytes)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("elmo: warning: out of memory: going on with")]
    if done.returncode == 0:
        assert out.exists()
    else:
        assert done.returncode == 2
        assert lines[-1].startswith("elmo: out of memory: ")
        assert "Traceback" not in done.stderr
        assert not out.exists()
    assert (done.returncode == 0) == (megabytes >= 700)
