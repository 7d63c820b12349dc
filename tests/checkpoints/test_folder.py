"""The model folder: all that it holds comes back; damage is named; the old one stands until the new one does."""

import dataclasses
import errno
import json
import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.checkpoints.damage import bytes_changed, cuts, unless_refused
from tests.checkpoints.small_models import (
    SMALL,
    change_json,
    forward_alone,
    full_checkpoint,
    same_tensors,
    seal,
    small_configs,
    words_checkpoint,
)

from elmokit.checkpoints import folder as folder_module
from elmokit.checkpoints.checkpoint import Checkpoint, random_checkpoint
from elmokit.checkpoints.folder import is_model_folder, load_folder, save_folder
from elmokit.config import BiLMConfig, CharCnnConfig, CodePointsConfig, ElmoConfig
from elmokit.errors import FormatError
from elmokit.text.tables import CHARACTER_MARKS, PADDING, CharacterTable

MODEL, HEAD = "model.safetensors", "lm_head.safetensors"


@pytest.fixture
def checkpoint() -> Checkpoint:
    return full_checkpoint()


@pytest.fixture
def model(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A model folder with everything in it."""
    save_folder(checkpoint, tmp_path / "model")
    return tmp_path / "model"


def rewrite(path: Path, changes: dict[str, torch.Tensor | None]) -> None:
    """Change tensors of a file (None: remove) and give it the right SHA-256."""
    tensors = load_file(path) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    seal(path.parent, path.name)


# Round trips


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_everything_comes_back(dtype: folder_module.StorageType, checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_folder(checkpoint, tmp_path / "model", dtype)
    loaded = load_folder(tmp_path / "model")
    kind = getattr(torch, dtype)
    assert checkpoint.head is not None
    assert loaded.config == checkpoint.config
    assert same_tensors(loaded.bilm, {name: tensor.to(kind).float() for name, tensor in checkpoint.bilm.items()})
    assert same_tensors(loaded.head, {name: tensor.to(kind).float() for name, tensor in checkpoint.head.items()})
    assert loaded.vocabulary == checkpoint.vocabulary
    assert loaded.card == checkpoint.card
    assert loaded.mixes == checkpoint.mixes
    assert loaded.layer_means_LD is not None
    assert checkpoint.layer_means_LD is not None
    assert torch.equal(loaded.layer_means_LD, checkpoint.layer_means_LD)
    assert str(tmp_path / "model") in loaded.origin


def test_a_model_that_reads_forward_alone_has_half_of_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_folder(forward_alone(checkpoint), tmp_path / "model")
    loaded = load_folder(tmp_path / "model")
    assert not loaded.config.bilm.bidirectional
    assert same_tensors(loaded.bilm, forward_alone(checkpoint).bilm)
    assert loaded.layer_means_LD is not None
    assert loaded.layer_means_LD.shape == (SMALL.layers + 1, SMALL.output_dim)
    rewrite(tmp_path / "model" / MODEL, {"backward_stack.layers.0.bias": torch.zeros(24)})
    with pytest.raises(FormatError, match="backward_stack.layers.0.bias"):
        load_folder(tmp_path / "model")


def test_float16_halves_the_size(checkpoint: Checkpoint, tmp_path: Path) -> None:
    big = random_checkpoint(ElmoConfig(bilm=BiLMConfig(cell_dim=64, projection_dim=32)), seed=0)
    save_folder(big, tmp_path / "full")
    save_folder(big, tmp_path / "half", "float16")
    full, half = ((tmp_path / name / MODEL).stat().st_size for name in ("full", "half"))
    assert half == pytest.approx(full / 2, rel=0.01)


@settings(max_examples=30)
@given(small_configs(), st.booleans())
def test_any_configuration_comes_back(config: BiLMConfig, bidirectional: bool) -> None:
    config = dataclasses.replace(config, bidirectional=bidirectional)
    with tempfile.TemporaryDirectory() as name:
        checkpoint = random_checkpoint(ElmoConfig(bilm=config), seed=0)
        save_folder(checkpoint, Path(name) / "model")
        loaded = load_folder(Path(name) / "model")
        assert loaded.config == checkpoint.config
        assert same_tensors(loaded.bilm, checkpoint.bilm)
        assert (loaded.head, loaded.vocabulary, loaded.layer_means_LD, loaded.card) == (None,) * 4


def test_saving_twice_gives_the_same_bytes(checkpoint: Checkpoint, model: Path, tmp_path: Path) -> None:
    save_folder(load_folder(model), tmp_path / "again")
    names = sorted(path.name for path in model.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert all((model / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_config_says_what_is_there(checkpoint: Checkpoint, model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "elmo"
    assert config["parameters"] == checkpoint.parameters
    assert set(config["files"]) == {MODEL, HEAD, "vocab.txt"}


# Damage


@pytest.mark.parametrize("name", [MODEL, HEAD, "vocab.txt"])
def test_any_changed_or_missing_byte_is_noticed(name: str, model: Path) -> None:
    path = model / name
    whole = path.read_bytes()
    step = max(1, len(whole) // 40)
    damaged = [whole[:size] for size in range(0, len(whole), step)]
    damaged += [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(0, len(whole), step)]
    for data in [*damaged, whole[:-1], whole + b"\n"]:
        path.write_bytes(data)
        with pytest.raises(FormatError, match=f"{name}: damaged or exchanged, its SHA-256"):
            load_folder(model)
    path.unlink()
    with pytest.raises(FormatError, match=f"{name}: missing"):
        load_folder(model)


@pytest.mark.parametrize("name", ["config.json", MODEL, HEAD, "vocab.txt"])
@pytest.mark.parametrize(
    ("number_of_cuts", "number_of_flips"), [(10, 40), pytest.param(200, 1000, marks=pytest.mark.slow)], ids=["quick", "many"]
)
def test_damage(name: str, number_of_cuts: int, number_of_flips: int, model: Path, checkpoint: Checkpoint) -> None:
    """What has a checksum is refused; `config.json`, which has none, may change the words in it, but no number."""
    for damage in (cuts(model / name, number_of_cuts), bytes_changed(model / name, number_of_flips)):
        for _ in damage:
            loaded = unless_refused(lambda: load_folder(model), model)
            if loaded is not None:
                assert name == "config.json"
                assert same_tensors(loaded.bilm, checkpoint.bilm)


def test_a_single_changed_weight_is_noticed(model: Path, checkpoint: Checkpoint) -> None:
    tensors = load_file(model / MODEL)
    kernel = tensors["backward_stack.layers.1.kernel"]
    kernel[3, 2] = torch.nextafter(kernel[3, 2], torch.tensor(9.0))
    save_file(tensors, model / MODEL, metadata={"format": "pt"})
    with pytest.raises(FormatError, match=r"model\.safetensors: damaged or exchanged"):
        load_folder(model)
    seal(model, MODEL)
    assert not same_tensors(load_folder(model).bilm, checkpoint.bilm)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (MODEL, {"words.embedding.weight": None}, r"tensor words\.embedding\.weight is missing, expected shape \(261, 3\)"),
        (
            MODEL,
            {"words.embedding.weight": torch.zeros(262, 3)},
            r"words\.embedding\.weight is F32 \(262, 3\), expected .*\(261, 3\)",
        ),
        (MODEL, {"words.embedding.weight": torch.zeros(261, 3, dtype=torch.int64)}, r"words\.embedding\.weight is I64"),
        (MODEL, {"forward_stack.layers.2.bias": torch.zeros(24)}, r"forward_stack\.layers\.2\.bias has no place"),
        (MODEL, {"layer_means": torch.zeros(2, 8)}, r"layer_means is F32 \(2, 8\), expected numbers of shape \(3, 8\)"),
        (HEAD, {"weight": torch.zeros(6, 5)}, r"weight is F32 \(6, 5\), expected numbers of shape \(6, 4\)"),
        (HEAD, {"weight": torch.zeros(7, 4)}, r"weight is F32 \(7, 4\), expected numbers of shape \(6, 4\)"),
        (HEAD, {"bias": None}, "tensor bias is missing"),
    ],
)
def test_wrong_tensors(name: str, changes: dict[str, torch.Tensor | None], message: str, model: Path) -> None:
    rewrite(model / name, changes)
    with pytest.raises(FormatError, match=f"{name}: tensor {message.removeprefix('tensor ')}"):
        load_folder(model)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff" * 64, (10**9).to_bytes(8, "little") + b"{}"])
def test_no_safetensors_file(data: bytes, model: Path) -> None:
    (model / MODEL).write_bytes(data)
    seal(model, MODEL)
    with pytest.raises(FormatError, match=r"model\.safetensors: no safetensors file, or damaged"):
        load_folder(model)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "bert", "model_type is 'bert', expected 'elmo'"),
        ("model_type", ..., "model_type is None"),
        ("format_version", 99, "format_version is 99"),
        ("bilm", ..., "bilm"),
        ("bilm.layers", 3, r"forward_stack\.layers\.2\.kernel is missing"),
        ("bilm.layers", 10**12, r"config\.json: layers must be at most 16,777,216, not 1000000000000"),
        ("bilm.layers", 10**7, r"forward_stack\.layers\.2\.kernel is missing"),
        ("bilm.layers", 1, r"layer_means is F32 \(3, 8\), expected numbers of shape \(2, 8\)"),
        ("bilm.layers", 2.5, "layers is 2.5, expected int"),
        ("bilm.layers", "2", "layers"),
        ("bilm.cell_dim", 10**7, r"kernel is F32 \(8, 24\), expected numbers of shape \(8, 40000000\)"),
        pytest.param("bilm.cell_dim", 10**4200, r"config\.json: cell_dim must be at most 16,777,216, not 10{79}$", id="huge"),
        pytest.param("bilm.cell_clip", 10**400, r"config\.json: cell_clip must be at most 3\.4e\+38, not 10{79}$", id="huge"),
        ("bilm.projection_clip", math.inf, r"config\.json: projection_clip must be at most 3\.4e\+38, not inf"),
        ("bilm.projection_clip", math.nan, r"config\.json: projection_clip must be above 0, not nan"),
        pytest.param("bilm.forget_bias", 10**400, r"config\.json: forget_bias must be a finite number, not 10{79}$", id="huge"),
        ("bilm.char_cnn.max_characters", 10_001, r"config\.json: max_characters must be at most 10,000, not 10001"),
        ("bilm.char_cnn.embedding_dim", 10**9, r"config\.json: embedding_dim must be at most 16,777,216"),
        ("bilm.char_cnn.highways", 10**9, r"config\.json: highways must be 0 or more, and at most 16,777,216"),
        ("bilm.char_cnn.filters", [[1, 10**9]], r"config\.json: filters must be pairs .*16,777,216 at most"),
        ("bilm.char_cnn.filters", [[1, math.inf]], r"config\.json: cannot convert float infinity"),
        ("bilm.cell_dim", True, "cell_dim is True, expected int"),
        ("bilm.skip_connections", "false", "skip_connections is 'false', expected bool"),
        ("bilm.char_cnn.activation", "gelu", "activation must be one of relu, tanh"),
        ("bilm.char_cnn.filters", 5, "not iterable"),
        ("bilm.misspelt", 1, "misspelt"),
        ("text.normalization", "NFD", "normalization must be one of"),
        ("text.lowercase", 1, "lowercase is 1, expected bool"),
        ("text.tokenizer", "bpe", "tokenizer must be one of whitespace, words, characters, not 'bpe'"),
        ("mixes", 1, "key mixes: 1 is no mix of layers"),
        ("mixes", [{"weights": [1, 2, 3], "gamma": 1}], "key mixes: .* is no mix of layers"),
        ("mixes", [{"weights": [1, 2], "gamma": 1, "layer_norm": False}], "key mixes: .* is no mix of 3 layers"),
        ("mixes", [{"weights": [1, 2, math.nan], "gamma": 1, "layer_norm": False}], "key mixes: .* is no mix of 3 layers"),
        ("mixes", [{"weights": [1, 2, 3], "gamma": 1, "layer_norm": 0}], "key mixes: .* is no mix of 3 layers"),
        ("files", ..., "key files must give the SHA-256"),
        ("files", ["model.safetensors"], "key files must give the SHA-256"),
        ("files", {"../../etc/passwd": "0", MODEL: "0"}, "key files must give the SHA-256"),
        ("files", {MODEL: 3}, "damaged or exchanged"),
    ],
)
def test_wrong_config(key: str, value: object, message: str, model: Path) -> None:
    change_json(model / "config.json", key, value)
    with pytest.raises(FormatError, match=message) as caught:
        load_folder(model)
    assert str(model) in str(caught.value)


def test_head_without_words(model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    change_json(model / "config.json", "files", {name: sha for name, sha in config["files"].items() if name != "vocab.txt"})
    with pytest.raises(FormatError, match=r"lm_head\.safetensors: needs vocab\.txt"):
        load_folder(model)


@pytest.mark.parametrize("name", ["input_words.json", "input_characters.json"])
def test_tables_without_a_checksum(name: str, tmp_path: Path) -> None:
    """A table that `files` does not name could be exchanged unseen."""
    ids = {character: i for i, character in enumerate(["a", *CHARACTER_MARKS])}
    code_points = CodePointsConfig(characters=len(ids), padding=ids[PADDING])
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),), code_points=code_points), cell_dim=6, projection_dim=4)
    characters = dataclasses.replace(random_checkpoint(ElmoConfig(bilm=config), seed=1), input_characters=CharacterTable(ids))
    folder = tmp_path / "model"
    save_folder(words_checkpoint() if name == "input_words.json" else characters, folder)
    files = json.loads((folder / "config.json").read_text(encoding="utf-8"))["files"]
    load_folder(folder)
    change_json(folder / "config.json", "files", {key: sha for key, sha in files.items() if key != name})
    with pytest.raises(FormatError, match=rf"config\.json: key files must give the SHA-256 of {name}, model\.safetensors"):
        load_folder(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_config_that_is_no_json_object(text: str, model: Path) -> None:
    (model / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=r"config\.json.*JSON"):
        load_folder(model)


def test_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no model folder, config\.json is missing"):
        load_folder(tmp_path)
    assert not is_model_folder(tmp_path)


def test_nan_is_not_refused(model: Path) -> None:
    rewrite(model / HEAD, {"bias": torch.full((6,), torch.nan)})
    head = load_folder(model).head
    assert head is not None
    assert head["bias"].isnan().all()


# Writing


def test_an_older_model_is_replaced_whole(model: Path, tmp_path: Path) -> None:
    bare = random_checkpoint(ElmoConfig(bilm=SMALL), seed=0)
    save_folder(bare, model)
    assert sorted(path.name for path in model.iterdir()) == ["config.json", MODEL]
    assert same_tensors(load_folder(model).bilm, bare.bilm)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_empty_folder_may_be_filled(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save_folder(checkpoint, tmp_path / "empty")
    assert is_model_folder(tmp_path / "empty")


@pytest.mark.parametrize("name", ["notes.txt", "README.md", ".git"])
def test_other_folders_are_not_replaced(name: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine: (holds other things|is no model folder)"):
        save_folder(checkpoint, tmp_path / "mine")
    with pytest.raises(ValueError, match="is a file"):
        save_folder(checkpoint, tmp_path / "mine" / name)
    assert (tmp_path / "mine" / name).read_text(encoding="utf-8") == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_model_folder_with_notes_in_it_is_not_replaced(checkpoint: Checkpoint, model: Path) -> None:
    (model / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds other things \(notes\.txt\)"):
        save_folder(checkpoint, model)


@pytest.mark.parametrize("fails_at", range(5))
def test_a_failing_write_leaves_the_old_model(
    fails_at: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    written: list[str] = []
    write_bytes, write_text = Path.write_bytes, Path.write_text

    def full_disk(path: Path) -> None:
        written.append(path.name)
        if len(written) > fails_at:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def checked_bytes(path: Path, data: bytes) -> int:
        full_disk(path)
        return write_bytes(path, data)

    def checked_text(path: Path, data: str, encoding: str) -> int:
        full_disk(path)
        return write_text(path, data, encoding=encoding)

    monkeypatch.setattr(Path, "write_bytes", checked_bytes)
    monkeypatch.setattr(Path, "write_text", checked_text)
    with pytest.raises(OSError, match="No space left"):
        save_folder(dataclasses.replace(full_checkpoint(), card="# Another card"), model)
    assert len(written) == fails_at + 1
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_loaded_model_is_free_of_its_files(model: Path) -> None:
    """Its tensors are mapped to the file: to change one changes no file, and the folder may be removed or replaced."""
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    loaded = load_folder(model)
    kept = {name: tensor.clone() for name, tensor in loaded.bilm.items()}
    with torch.no_grad():
        for tensor in loaded.bilm.values():
            tensor.add_(1)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    again = load_folder(model)
    save_folder(random_checkpoint(again.config, seed=99), model)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in again.bilm.items())
    assert all(torch.equal(tensor, kept[name] + 1) for name, tensor in loaded.bilm.items())


def test_numbers_too_large_for_float16(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.bilm["forward_stack.layers.0.bias"][0] = 1e6
    with pytest.raises(ValueError, match=r"forward_stack\.layers\.0\.bias has values too large for float16; save as float32"):
        save_folder(checkpoint, tmp_path / "model", "float16")
    assert list(tmp_path.iterdir()) == []
