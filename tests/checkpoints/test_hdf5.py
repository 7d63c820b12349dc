"""The published layout: read and written without the loss of a bit; whatever is wrong with a file is said."""

import dataclasses
import json
import shutil
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.checkpoints.small_models import (
    SMALL,
    change_json,
    datasets,
    different_datasets,
    forward_alone,
    full_checkpoint,
    same_tensors,
    small_configs,
    write_datasets,
)

from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.folder import load_folder, save_folder
from elmokit.checkpoints.hdf5 import load_hdf5, save_hdf5
from elmokit.checkpoints.layout import bilm_layout
from elmokit.config import BiLMConfig, ElmoConfig
from elmokit.errors import FormatError

GOLDEN = Path(__file__).parent.parent / "golden/data"
DATASETS = [entry.dataset for entry in bilm_layout(SMALL)]

pytestmark = pytest.mark.filterwarnings("ignore:.*the published layout cannot hold:UserWarning")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with options.json and weights.hdf5."""
    save_hdf5(random_checkpoint(ElmoConfig(bilm=SMALL), seed=3), tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path) -> Any:
    return load_hdf5(folder / "options.json", folder / "weights.hdf5")


def there_and_back(options: Path, weights: Path, folder: Path) -> Path:
    """HDF5 → model folder → HDF5; gives the folder of the latter."""
    save_folder(load_hdf5(options, weights), folder / "folder")
    save_hdf5(load_folder(folder / "folder"), folder / "again")
    return folder / "again"


# Round trips


def test_a_file_of_bilm_tf_comes_back_identical(tmp_path: Path) -> None:
    options, weights = GOLDEN / "training/inference_options.json", GOLDEN / "training/dumped_weights.hdf5"
    again = there_and_back(options, weights, tmp_path)
    assert different_datasets(weights, again / "weights.hdf5") == []
    assert json.loads((again / "options.json").read_bytes()) == json.loads(options.read_bytes())


@pytest.mark.parametrize("name", ["allennlp", "bilm_tf"])
def test_published_files_come_back_identical(name: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "golden/official" / name
    again = there_and_back(folder / "options.json", folder / "lm_weights.hdf5", tmp_path)
    assert different_datasets(folder / "lm_weights.hdf5", again / "weights.hdf5") == []
    assert json.loads((again / "options.json").read_bytes()) == json.loads((folder / "options.json").read_bytes())


@settings(max_examples=30)
@given(config=small_configs(), seed=st.integers(0, 9))
def test_any_model_comes_back_identical(config: BiLMConfig, seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = random_checkpoint(ElmoConfig(bilm=config), seed)
        save_hdf5(checkpoint, folder / "first")
        loaded = load(folder / "first")
        assert same_tensors(loaded.bilm, checkpoint.bilm)
        assert loaded.config.bilm == config
        again = there_and_back(folder / "first/options.json", folder / "first/weights.hdf5", folder)
        assert different_datasets(folder / "first/weights.hdf5", again / "weights.hdf5") == []
        assert (folder / "first/options.json").read_bytes() == (again / "options.json").read_bytes()
        assert load_folder(folder / "folder").config.bilm == config


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_single_changed_weight_is_noticed(dataset: str, model: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(model, changed)
    with h5py.File(changed / "weights.hdf5", "r+") as file:
        place = (-1,) * file[dataset].ndim
        file[dataset][place] = np.nextafter(file[dataset][place], np.float32(9))
    again = there_and_back(changed / "options.json", changed / "weights.hdf5", tmp_path)
    assert different_datasets(changed / "weights.hdf5", again / "weights.hdf5") == []
    assert different_datasets(model / "weights.hdf5", again / "weights.hdf5") == [dataset]
    assert not same_tensors(load(model).bilm, load(again).bilm)


def test_what_the_layout_cannot_hold_is_said(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="cannot hold the tokenizer.*languages.*licence.*head.*vocabulary.*layer means.*model card"
    ):
        save_hdf5(full_checkpoint(), tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert (loaded.head, loaded.vocabulary, loaded.layer_means_LD, loaded.card) == (None,) * 4
    assert loaded.config.text.tokenizer == "words"
    with pytest.warns(UserWarning, match="cannot hold the tokenizer and normalization: left out"):
        save_hdf5(loaded, tmp_path / "model")


def test_a_model_that_reads_forward_alone(model: Path, tmp_path: Path) -> None:
    """It is read where bilm-tf's option says so and nothing is there to read backward; written it cannot be."""
    both = load(model)
    change_json(model / "options.json", "bidirectional", False)
    assert load(model).config.bilm.bidirectional, "AllenNLP does not read this option, and the weights are there"
    arrays = datasets(model / "weights.hdf5")
    write_datasets(model / "weights.hdf5", {name: array for name, array in arrays.items() if not name.startswith("RNN_1")})
    loaded = load(model)
    assert loaded.config.bilm == dataclasses.replace(both.config.bilm, bidirectional=False)
    assert same_tensors(loaded.bilm, forward_alone(both).bilm)
    with pytest.raises(ValueError, match="reads forward alone, and the published layout always holds both directions"):
        save_hdf5(loaded, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    change_json(model / "options.json", "bidirectional", True)
    with pytest.raises(FormatError, match=r"dataset RNN_1/.* is missing"):
        load(model)


def test_weights_of_other_precision_become_float32(model: Path) -> None:
    expected = load(model)
    arrays = {name: array.astype(np.float64) for name, array in datasets(model / "weights.hdf5").items()}
    write_datasets(model / "weights.hdf5", arrays)
    assert same_tensors(load(model).bilm, expected.bilm)


def test_compressed_files_are_read(model: Path) -> None:
    expected, arrays = load(model), datasets(model / "weights.hdf5")
    with h5py.File(model / "weights.hdf5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip", shuffle=True)
    assert same_tensors(load(model).bilm, expected.bilm)


# Options


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("char_cnn.n_characters", 261),
        ("char_cnn.n_characters", ...),
        ("lstm.unknown", {"a": 1}),
        ("dropout", 0.1),
        ("lstm.cell_clip", 3),
    ],
)
def test_options_that_mean_nothing(key: str, value: object, model: Path) -> None:
    expected = load(model)
    change_json(model / "options.json", key, value)
    assert load(model).config == expected.config


@pytest.mark.parametrize("value", [None, ...])
def test_clips_may_be_null_or_absent(value: object, model: Path) -> None:
    change_json(model / "options.json", "lstm.cell_clip", value)
    change_json(model / "options.json", "lstm.proj_clip", value)
    config = load(model).config.bilm
    assert config.cell_clip is config.projection_clip is None


@pytest.mark.parametrize("value", [None, 0, ...])
def test_no_highways(value: object, tmp_path: Path) -> None:
    without = dataclasses.replace(SMALL, char_cnn=dataclasses.replace(SMALL.byte_cnn, highways=0))
    save_hdf5(full_checkpoint(without), tmp_path / "m")
    change_json(tmp_path / "m/options.json", "char_cnn.n_highway", value)
    assert load(tmp_path / "m").config.bilm.byte_cnn.highways == 0


@pytest.mark.parametrize("value", [6, None, ...])
def test_no_projection_of_the_lstm(value: object, tmp_path: Path) -> None:
    save_hdf5(full_checkpoint(dataclasses.replace(SMALL, projection_dim=None)), tmp_path / "m")
    change_json(tmp_path / "m/options.json", "lstm.projection_dim", value)
    assert load(tmp_path / "m").config.bilm.projection_dim is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lstm", ..., "lstm.dim is missing"),
        ("char_cnn", ..., "char_cnn.filters is missing or null"),
        ("lstm.dim", ..., "lstm.dim is missing"),
        ("lstm.dim", "6", "lstm.dim is '6', expected a whole number"),
        ("lstm.dim", True, "lstm.dim is True, expected a whole number"),
        ("lstm.dim", 6.5, "lstm.dim is 6.5"),
        ("lstm.dim", -6, "cell_dim must be above 0, not -6"),
        ("lstm.dim", 7, r"W_0 has the shape \(8, 24\), expected float32 of shape \(8, 28\)"),
        ("lstm.projection_dim", ..., r"CNN_proj/W_proj has the shape \(9, 4\), expected float32 of shape \(9, 6\)"),
        ("lstm.projection_dim", [4], r"lstm.projection_dim is \[4\]"),
        ("lstm.n_layers", ..., "lstm.n_layers is missing"),
        ("lstm.n_layers", 0, "layers must be above 0"),
        ("lstm.n_layers", 3, "Cell2/LSTMCell/W_0 is missing"),
        ("lstm.n_layers", 1, "Cell1/LSTMCell/[A-Z_0]+ has no place in the network"),
        ("lstm.n_layers", 10**7, "Cell2/LSTMCell/W_0 is missing"),
        ("lstm.n_layers", 10**12, r"options\.json: layers must be at most 16,777,216"),
        ("lstm.cell_clip", "3", "lstm.cell_clip is '3', expected a number"),
        pytest.param(
            "lstm.cell_clip",
            10**400,
            r"options\.json: key lstm.cell_clip is 10{79}, expected a number that float32 can hold",
            id="huge",
        ),
        ("lstm.proj_clip", np.inf, r"options\.json: key lstm.proj_clip is inf, expected a number that float32 can hold"),
        ("lstm.proj_clip", np.nan, r"options\.json: key lstm.proj_clip is nan, expected a number that float32 can hold"),
        ("lstm.proj_clip", -1, "projection_clip must be above 0"),
        ("lstm.use_skip_connections", ..., "lstm.use_skip_connections is missing"),
        ("lstm.use_skip_connections", "no", "lstm.use_skip_connections is 'no', expected true or false"),
        ("char_cnn.embedding", 3, "char_cnn.embedding.dim is missing"),
        ("char_cnn.embedding.dim", 4, r"char_embed has the shape \(261, 3\), expected float32 of shape \(261, 4\)"),
        ("char_cnn.embedding.dim", 10**7, "char_embed has the shape"),
        ("char_cnn.filters", ..., "char_cnn.filters is missing"),
        ("char_cnn.filters", 32, "char_cnn.filters is 32, expected a list of pairs"),
        ("char_cnn.filters", [[1]], "expected a list of pairs"),
        ("char_cnn.filters", [[1, "4"]], "expected a list of pairs"),
        ("char_cnn.filters", [], "filters must be pairs"),
        ("char_cnn.filters", [[0, 4]], "filters must be pairs"),
        ("char_cnn.filters", [[1, 4], [3, 6]], r"W_cnn_1 has the shape \(1, 3, 3, 5\), expected float32 of shape \(1, 3, 3, 6\)"),
        ("char_cnn.filters", [[1, 4], [3, 10**7]], "W_cnn_1 has the shape"),
        ("char_cnn.n_highway", 2, "CNN_high_1/W_carry is missing"),
        ("char_cnn.n_highway", 0, "CNN_high_0/[Wb]_[a-z]+ has no place"),
        ("char_cnn.n_highway", -1, "highways must be 0 or more"),
        ("char_cnn.activation", ..., "char_cnn.activation is missing"),
        ("char_cnn.activation", "gelu", "activation must be one of relu, tanh, not 'gelu'"),
        ("char_cnn.max_characters_per_token", ..., "max_characters_per_token is missing"),
        ("char_cnn.max_characters_per_token", 10**7, r"options\.json: max_characters must be at most 10,000"),
        ("char_cnn.max_characters_per_token", 2, "max_characters must be at least 3"),
    ],
)
def test_wrong_options(key: str, value: object, message: str, model: Path) -> None:
    change_json(model / "options.json", key, value)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=message) as caught:
            load(model)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert str(model) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"lstm": {"dim": 6', "[1]", "null", "\udcff", '{"a": ' + "9" * 5000 + "}"])
def test_options_that_are_no_json_object(text: str, model: Path) -> None:
    (model / "options.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=r"options\.json.*JSON"):
        load(model)


def test_missing_files(model: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json: cannot be read"):
        load_hdf5(model / "none.json", model / "weights.hdf5")
    with pytest.raises(ValueError, match=r"none\.hdf5: no such file"):
        load_hdf5(model / "options.json", model / "none.hdf5")
    with pytest.raises(ValueError, match="is a folder"):
        load_hdf5(model / "options.json", model)


# Weights


@pytest.mark.parametrize("dataset", DATASETS)
def test_missing_dataset(dataset: str, model: Path) -> None:
    with h5py.File(model / "weights.hdf5", "r+") as file:
        del file[dataset]
    with pytest.raises(FormatError, match="is missing, expected float32 of shape") as caught:
        load(model)
    assert f"{model / 'weights.hdf5'}: dataset {dataset} " in str(caught.value)


@pytest.mark.parametrize("dataset", DATASETS)
def test_wrong_dataset(dataset: str, model: Path) -> None:
    weights = model / "weights.hdf5"
    arrays = datasets(weights)
    right = arrays[dataset]
    wrong: dict[str, list[NDArray[Any]]] = {
        "has the shape": [
            right[..., :-1],
            right[None],
            np.array(3, np.float32),
            right.T.copy() if right.ndim > 1 else right[None],
        ],
        "is of type": [right.astype(np.int32), right.astype("S4"), right.astype(np.complex64)],
    }
    for message, values in wrong.items():
        for value in values:
            if value.shape == right.shape and value.dtype == right.dtype:
                continue  # the transpose of a vector or of a square matrix has the right shape
            write_datasets(weights, {**arrays, dataset: value})
            with pytest.raises(FormatError, match=message) as caught:
                load(model)
            assert f"{weights}: dataset {dataset} " in str(caught.value)


def test_a_group_in_place_of_a_dataset(model: Path) -> None:
    arrays = datasets(model / "weights.hdf5")
    arrays["char_embed/inner"] = arrays.pop("char_embed")
    write_datasets(model / "weights.hdf5", arrays)
    with pytest.raises(FormatError, match="dataset char_embed is missing"):
        load(model)


def test_a_dataset_in_place_of_a_group(model: Path) -> None:
    arrays = {name: array for name, array in datasets(model / "weights.hdf5").items() if not name.startswith("CNN/")}
    write_datasets(model / "weights.hdf5", {**arrays, "CNN": np.zeros(3, np.float32)})
    with pytest.raises(FormatError, match="CNN/W_cnn_0 is missing"):
        load(model)


def test_datasets_that_no_one_wrote_or_that_are_larger_than_the_file(model: Path) -> None:
    change_json(model / "options.json", "char_cnn.embedding.dim", 10**7)
    for options in ({}, {"chunks": (261, 100)}, {"chunks": (261, 100), "compression": "gzip"}):
        with h5py.File(model / "weights.hdf5", "r+") as file:
            del file["char_embed"]
            file.create_dataset("char_embed", (261, 10**7), np.float32, **options)
        with pytest.raises(FormatError, match=r"char_embed was never \(fully\) written"):
            load(model)


def test_numbers_that_are_in_another_file(model: Path) -> None:
    """A model that somebody sent must not read other files of this machine."""
    right = datasets(model / "weights.hdf5")["char_embed"]
    (model / "secret").write_bytes(right.tobytes())
    write_datasets(model / "other.hdf5", {"x": right})
    layout = h5py.VirtualLayout(right.shape, right.dtype)
    layout[:] = h5py.VirtualSource(model / "other.hdf5", "x", right.shape)
    for kind in ("external", "virtual", "link"):
        with h5py.File(model / "weights.hdf5", "r+") as file:
            del file["char_embed"]
            if kind == "external":
                file.create_dataset("char_embed", right.shape, right.dtype, external=[(model / "secret", 0, right.nbytes)])
            elif kind == "virtual":
                file.create_virtual_dataset("char_embed", layout)
            else:
                file["char_embed"] = h5py.ExternalLink(model / "other.hdf5", "x")
            assert np.array_equal(file["char_embed"], right)
        says = "is missing" if kind == "link" else "keeps its numbers in another file"
        with pytest.raises(FormatError, match=rf"weights\.hdf5: dataset char_embed {says}"):
            load(model)


def test_files_cut_short(model: Path) -> None:
    weights = model / "weights.hdf5"
    whole = weights.read_bytes()
    for size in [*range(0, len(whole), 499), *range(len(whole) - 9, len(whole))]:
        weights.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"weights\.hdf5: not an HDF5 file, or damaged or cut short"):
            load(model)


@given(position=st.integers(0, 4000), garbage=st.binary(min_size=1, max_size=64))
def test_garbage_gives_one_error_or_a_whole_model(position: int, garbage: bytes) -> None:
    """HDF5 has no check sums: numbers may change unseen, but nothing else may come out than a model or the one error."""
    weights = GOLDEN / "models/random_tiny/weights.hdf5"
    data = bytearray(weights.read_bytes())
    data[position : position + len(garbage)] = garbage
    with tempfile.TemporaryDirectory() as name:
        damaged = Path(name) / "weights.hdf5"
        damaged.write_bytes(data)
        try:
            checkpoint = load_hdf5(weights.parent / "options.json", damaged)
        except FormatError as error:
            message = str(error)
        else:
            message = f"{damaged}: fine"
            shapes = {entry.name: entry.shape for entry in bilm_layout(checkpoint.config.bilm)}
            assert {key: tuple(tensor.shape) for key, tensor in checkpoint.bilm.items()} == shapes
        assert message.startswith(str(damaged))


def test_not_hdf5_at_all(model: Path) -> None:
    (model / "weights.hdf5").write_text("<html>404</html>", encoding="utf-8")
    with pytest.raises(FormatError, match="not an HDF5 file"):
        load(model)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_finite_numbers(value: float, model: Path) -> None:
    with h5py.File(model / "weights.hdf5", "r+") as file:
        file["CNN_proj/W_proj"][0, 0] = value
    with pytest.raises(FormatError, match=r"weights\.hdf5: dataset CNN_proj/W_proj has values that are no finite numbers"):
        load(model)


# Writing


def test_nothing_else_is_replaced(model: Path, tmp_path: Path) -> None:
    checkpoint = load(model)
    save_hdf5(checkpoint, model)  # its own kind is
    (model / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds other things \(notes.txt\)"):
        save_hdf5(checkpoint, model)
    with pytest.raises(ValueError, match="is a file"):
        save_hdf5(checkpoint, model / "notes.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert (model / "notes.txt").read_text(encoding="utf-8") == "mine"
