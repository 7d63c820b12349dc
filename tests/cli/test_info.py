"""`elmo info`."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoints.small_models import full_checkpoint
from tests.checkpoints.tf_bundles import write_saved_model

from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.folder import save_folder, sha256
from elmokit.checkpoints.hdf5 import save_hdf5
from elmokit.cli import info
from elmokit.cli.commands.info import describe
from elmokit.cli.main import main
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig

CONFIG = ElmoConfig(
    bilm=BiLMConfig(
        char_cnn=CharCnnConfig(embedding_dim=4, filters=((1, 4), (2, 6)), highways=1), cell_dim=8, projection_dim=3, layers=2
    ),
    languages=("en", "de"),
    license="CC-BY-4.0",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder whose layer means have norms 5, 0 and 1."""
    means = torch.zeros(3, 6)
    means[0, :2] = torch.tensor([3.0, 4.0])
    means[2, 5] = -1
    checkpoint = random_checkpoint(CONFIG, seed=1)
    save_folder(type(checkpoint)(**{**vars(checkpoint), "layer_means_LD": means}), tmp_path / "model")
    return tmp_path / "model"


def test_what_a_model_folder_says(folder: Path) -> None:
    facts = describe(str(folder))
    expected = {"dimension": 6, "layers": 3, "layer_mean_norms": [5.0, 0.0, 1.0], "cell": 8, "projection": 3, "highways": 1}
    assert expected.items() <= facts.items()
    assert facts["filters"] == [[1, 4], [2, 6]]
    assert facts["languages"] == ["en", "de"]
    assert facts["license"] == "CC-BY-4.0"
    assert facts["parameters"] == sum(tensor.numel() for tensor in random_checkpoint(CONFIG, seed=1).bilm.values())
    assert not facts["language_model"]


def test_checksums_are_those_of_the_files(folder: Path) -> None:
    files = describe(str(folder))["files"]
    assert sorted(files) == sorted(path.name for path in folder.iterdir())
    for name, file in files.items():
        content = (folder / name).read_bytes()
        assert file == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_published_layout(folder: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="tokenizer"):
        save_hdf5(random_checkpoint(CONFIG, seed=1), tmp_path / "published")
    facts = describe(str(tmp_path / "published"))
    assert facts["dimension"] == 6
    assert facts["layer_mean_norms"] is None
    assert set(facts["files"]) == {"options.json", "weights.hdf5"}


def test_a_model_without_a_projection(tmp_path: Path) -> None:
    plain = ElmoConfig(bilm=replace(CONFIG.bilm, projection_dim=None))
    save_folder(random_checkpoint(plain, seed=1), tmp_path / "plain")
    assert describe(str(tmp_path / "plain"))["projection"] == "none"


def test_json_holds_the_same_as_the_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info(str(folder), json=True)
    assert json.loads(capsys.readouterr().out) == describe(str(folder))
    info(str(folder))
    lines = capsys.readouterr().out
    assert "5.0 0.0 1.0" in lines
    assert "1×4 2×6" in lines
    assert describe(str(folder))["files"]["model.safetensors"]["sha256"] in lines


def test_a_model_that_is_missing_or_damaged_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert main(["info", str(folder)]) == 2
    output = capsys.readouterr()
    assert "model.safetensors" in output.err
    assert output.out == ""


def test_what_tensorflow_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All files of a SavedModel, its mix of layers, and that its reader was never tried on the originals."""
    mix: dict[str, Any] = {"aggregation/weights": np.array([0.5, -1, 2], np.float32), "aggregation/scaling": np.float32(1.5)}
    write_saved_model(tmp_path / "hub", full_checkpoint(), shards=2, **mix)
    assert main(["info", str(tmp_path / "hub")]) == 0
    printed = capsys.readouterr().out
    assert "unverified on the original files" in printed
    assert "layer mixes       1.5·softmax(0.5, -1, 2)" in printed
    files = {"saved_model.pb", "variables.index", "variables.data-00000-of-00002", "variables.data-00001-of-00002"}
    assert describe(str(tmp_path / "hub"))["files"].keys() == files


def test_archives(folder: Path, tmp_path: Path) -> None:
    """One file with one checksum, and all that is in it."""
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", folder))
    facts, expected = describe(str(packed)), describe(str(folder))
    assert facts["files"] == {"packed.tar.gz": {"bytes": packed.stat().st_size, "sha256": sha256(packed)}}
    same = facts.keys() - {"model", "format", "files"}
    assert {key: facts[key] for key in same} == {key: expected[key] for key in same}
