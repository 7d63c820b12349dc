"""One door: each format is recognized by what is there, and everything else is named."""

import shutil
from pathlib import Path

import pytest
from tests.checkpoints.small_models import full_checkpoint, same_tensors
from tests.checkpoints.tf_bundles import write_training_folder

from elmokit.checkpoints import load as load_module
from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.folder import save_folder
from elmokit.checkpoints.hdf5 import save_hdf5
from elmokit.checkpoints.load import bundled_names, load_checkpoint, resolve_path
from elmokit.errors import FormatError

EXPECTED = full_checkpoint()

pytestmark = pytest.mark.filterwarnings("ignore:.*the published layout cannot hold:UserWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_folder(EXPECTED, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    save_hdf5(EXPECTED, tmp_path / "hdf5")
    return tmp_path / "hdf5"


def loads(path: str | Path) -> bool:
    return same_tensors(load_checkpoint(path).bilm, EXPECTED.bilm)


def test_model_folder(folder: Path) -> None:
    assert loads(folder)
    assert loads(str(folder))
    assert loads(folder / "config.json")
    assert loads(folder / "model.safetensors")


def test_published_layout(hdf5: Path) -> None:
    assert loads(hdf5)
    assert loads(hdf5 / "options.json")
    assert loads(hdf5 / "weights.hdf5")


def test_published_names(hdf5: Path) -> None:
    """Several models in one folder, named as they were published."""
    shutil.copy(hdf5 / "options.json", hdf5 / "elmo_2x4096_options.json")
    shutil.move(hdf5 / "weights.hdf5", hdf5 / "elmo_2x4096_weights.hdf5")
    assert loads(hdf5)
    (hdf5 / "elmo_small_options.json").write_text("{}", encoding="utf-8")
    (hdf5 / "elmo_small_weights.hdf5").write_text("", encoding="utf-8")
    (hdf5 / "options.json").unlink()
    assert loads(hdf5 / "elmo_2x4096_weights.hdf5")
    assert loads(hdf5 / "elmo_2x4096_options.json")
    with pytest.raises(FormatError, match=r"no model folder; missing is config\.json, or options\.json and one HDF5 file"):
        load_checkpoint(hdf5)


def test_one_weight_file_among_others(hdf5: Path) -> None:
    (hdf5 / "vectors.hdf5").write_text("", encoding="utf-8")
    assert loads(hdf5)
    assert loads(hdf5 / "options.json")


def test_half_of_a_pair(hdf5: Path) -> None:
    weights = (hdf5 / "weights.hdf5").rename(hdf5 / "weights.kept")
    with pytest.raises(FormatError, match="missing is one HDF5 file of weights; found options.json"):
        load_checkpoint(hdf5)
    with pytest.raises(FormatError, match=r"expected one file \*weights\.hdf5 beside it, found 0"):
        load_checkpoint(hdf5 / "options.json")
    weights.rename(hdf5 / "weights.hdf5")
    (hdf5 / "options.json").unlink()
    with pytest.raises(FormatError, match=r"expected one file \*options\.json beside it, found 0"):
        load_checkpoint(hdf5)


def test_bundled_names_come_first(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_bundled", lambda: tmp_path)
    assert bundled_names() == ["model"]
    (tmp_path / "elsewhere/model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert loads("model")
    assert resolve_path("model") == folder
    with pytest.raises(FormatError, match="no model folder"):
        load_checkpoint("./model")
    with pytest.raises(ValueError, match=r"modell: no such model, file or folder \(bundled models: model;"):
        load_checkpoint("modell")


def test_home_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert loads("~/model")


@pytest.mark.parametrize("name", ["en-smal", "no/such/model.hdf5", "./user/name", "/none/at", ""])
def test_nothing_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no such model, file or folder|no model folder"):
        load_checkpoint(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.zip", "not an archive, or damaged or cut short"),
        ("model.tar.gz", "not an archive, or damaged or cut short"),
        ("model.7z", "archives of this kind are not read"),
        ("model.ckpt-9.index", "no index of a TensorFlow checkpoint"),
        ("checkpoint", "names no model_checkpoint_path"),
        ("model.pkl", "no known model format"),
        ("model.txt", "no known model format"),
    ],
)
def test_other_files(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"neither this nor that")
    with pytest.raises(FormatError, match=f"{name}: {message}"):
        load_checkpoint(tmp_path / name)


def test_other_folders(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no model folder; missing is .* found nothing"):
        load_checkpoint(tmp_path)
    (tmp_path / "char.dic").write_text("a\t0\n", encoding="utf-8")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FormatError, match="config.json: key config_path is None"):
        load_checkpoint(tmp_path)


def test_tensorflow_folders(hdf5: Path) -> None:
    """As bilm-tf leaves them after training; with the weights dumped beside them all is there."""
    write_training_folder(hdf5, random_checkpoint(EXPECTED.config, seed=8))
    assert loads(hdf5)
    (hdf5 / "weights.hdf5").unlink()
    with pytest.warns(UserWarning, match="has no softmax"):
        assert not loads(hdf5)


def packed(folder: Path) -> str:
    return shutil.make_archive(str(folder.parent / "packed"), "zip", folder)


@pytest.mark.parametrize("config", ["{}", '{"model_type": "bert"}', "[]", "{"])
def test_a_config_of_something_else_hides_no_model(config: str, hdf5: Path, tmp_path: Path) -> None:
    """Many a model of the Hub has one, for the Hub's own count of downloads."""
    write_training_folder(tmp_path / "trained", EXPECTED)
    for folder in (hdf5, tmp_path / "trained"):
        (folder / "config.json").write_text(config, encoding="utf-8")
        assert loads(folder)
        assert loads(folder / "config.json")
        assert loads(packed(folder))


def test_a_config_of_something_else_is_to_blame_where_there_is_nothing_else(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    for path in (folder, packed(folder), folder / "model.safetensors"):
        with pytest.raises(FormatError, match=r"config\.json: model_type is 'bert', expected 'elmo'"):
            load_checkpoint(path)


@pytest.mark.parametrize("stray", ["word.dic", "weights.th", "saved_model.pb", "options.json", "weights.hdf5", "checkpoint"])
def test_what_lies_about_in_a_model_folder_hides_no_model(stray: str, folder: Path) -> None:
    (folder / stray).write_text("{}", encoding="utf-8")
    assert loads(folder)
    assert loads(folder / "model.safetensors")
    assert loads(packed(folder))


def test_many_weight_files_of_one_model(hdf5: Path) -> None:
    """NLPL's way: model.hdf5, else the first one."""
    shutil.move(hdf5 / "weights.hdf5", hdf5 / "model.hdf5")
    for name in ("a.hdf5", "z_weights.hdf5"):
        (hdf5 / name).write_bytes(b"")
    assert loads(hdf5)
    for name in ("model.hdf5", "z_weights.hdf5"):
        shutil.move(hdf5 / name, hdf5 / f"b_{name}".replace("weights", "vectors").replace("model", "vectors"))
    with pytest.raises(FormatError, match=r"a\.hdf5: not an HDF5 file"):
        load_checkpoint(hdf5)
