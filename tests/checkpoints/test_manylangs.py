"""The layout of ELMoForManyLangs: read and written back without the loss of a bit; whatever is wrong with it is said."""

import dataclasses
import json
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints.damage import bytes_changed, cuts
from tests.checkpoints.small_models import change_json, forward_alone, full_checkpoint, same_tensors
from torch import Tensor

from elmokit import Elmo
from elmokit.checkpoints.checkpoint import Checkpoint, random_checkpoint
from elmokit.checkpoints.folder import load_folder, save_folder
from elmokit.checkpoints.hdf5 import save_hdf5
from elmokit.checkpoints.layout import bilm_layout
from elmokit.checkpoints.load import load_checkpoint
from elmokit.checkpoints.manylangs import PUBLISHED_ARCHITECTURE, load_manylangs, save_manylangs
from elmokit.cli.main import main
from elmokit.config import BiLMConfig, CharCnnConfig, CodePointsConfig, ElmoConfig, WordTableConfig
from elmokit.errors import FormatError
from elmokit.text.tables import CHARACTER_MARKS, MANYLANGS_MARKS, PADDING, CharacterTable, WordTable

LETTERS = {entry: i for i, entry in enumerate([*"abrx", "\u3000", "e\u0301", "中", *CHARACTER_MARKS, "\ue000"])}
WORDS = {entry: i for i, entry in enumerate(["river", "New York", "<S>", *MANYLANGS_MARKS, "ab ", PADDING])}
CNN = CharCnnConfig(
    embedding_dim=3,
    filters=((1, 4), (3, 5)),
    highways=2,
    activation="tanh",
    max_characters=12,
    code_points=CodePointsConfig(characters=len(LETTERS), padding=LETTERS[PADDING]),
)
TABLE = WordTableConfig(words=len(WORDS), dim=5, projection=True)
BOTH = BiLMConfig(char_cnn=CNN, word_table=TABLE, cell_dim=6, projection_dim=4, layers=2, cell_clip=None, forget_bias=0.0)
CONFIGS = {
    "both": BOTH,
    "code points": dataclasses.replace(BOTH, word_table=None, layers=1, projection_clip=0.5),
    "words": dataclasses.replace(BOTH, char_cnn=None),
}
FILES = ["char.dic", "word.dic", "token_embedder.pkl", "encoder.pkl", "config.json", "cnn_config.json"]

pytestmark = pytest.mark.filterwarnings("ignore:.*cannot hold:UserWarning")


def checkpoint_of(config: BiLMConfig) -> Checkpoint:
    return dataclasses.replace(
        random_checkpoint(ElmoConfig(bilm=config), seed=4),
        input_words=WordTable(WORDS, MANYLANGS_MARKS, 10) if config.word_table else None,
        input_characters=CharacterTable(LETTERS, 12) if config.char_cnn else None,
        origin="test",
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_manylangs(checkpoint_of(BOTH), tmp_path / "model")
    return tmp_path / "model"


def same(a: Checkpoint, b: Checkpoint) -> bool:
    """Whether two models are equal to the last bit."""
    tables = a.input_words == b.input_words and a.input_characters == b.input_characters
    return tables and a.config.bilm == b.config.bilm and same_tensors(a.bilm, b.bilm)


def state(path: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = torch.load(path, weights_only=True)
    return loaded


def change_state(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Pickle a state dict anew."""
    tensors = state(path)
    change(tensors)
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


# Round trips


@pytest.mark.parametrize("name", CONFIGS)
def test_ours_theirs_ours(name: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(CONFIGS[name])
    save_manylangs(checkpoint, tmp_path / "m")
    assert same(load_checkpoint(tmp_path / "m"), checkpoint)
    for file in ("encoder.pkl", "config.json"):
        assert same(load_checkpoint(tmp_path / "m" / file), checkpoint)
    save_folder(load_checkpoint(tmp_path / "m"), tmp_path / "folder")
    assert same(load_folder(tmp_path / "folder"), checkpoint)


@pytest.mark.parametrize("name", ["manylangs_char_only", "manylangs_word_char"])
def test_their_files_come_back_identical(name: str, shared: Path, tmp_path: Path) -> None:
    theirs, ours = shared / "golden/models" / name, tmp_path / "again"
    save_folder(load_checkpoint(theirs), tmp_path / "folder")
    save_manylangs(load_folder(tmp_path / "folder"), ours)
    for file in ("token_embedder.pkl", "encoder.pkl"):
        assert list(state(ours / file)) == list(state(theirs / file))
        assert same_tensors(state(ours / file), state(theirs / file))
    assert json.loads((ours / "cnn_config.json").read_bytes()) == json.loads((theirs / "cnn_config.json").read_bytes())
    for file in ("char.dic", *(["word.dic"] if name == "manylangs_word_char" else [])):
        assert (ours / file).read_bytes() == (theirs / file).read_bytes()
    for file in ("token_embedder.pkl", "encoder.pkl"):
        for key in state(ours / file):
            shutil.copytree(ours, tmp_path / "changed", dirs_exist_ok=True)
            tensors = state(ours / file)
            tensors[key].view(-1)[-1] += 1
            torch.save(tensors, tmp_path / "changed" / file, _use_new_zipfile_serialization=False)
            assert not same_tensors(load_checkpoint(tmp_path / "changed").bilm, load_checkpoint(theirs).bilm), key


def test_everything_works_with_such_a_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(model), str(tmp_path / "folder"), "--languages", "eu"]) == 0
    assert main(["info", str(tmp_path / "folder")]) == 0
    assert "whole words and code points" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "folder"), str(tmp_path / "again"), "--to", "manylangs"]) == 0
    assert same(load_checkpoint(tmp_path / "again"), checkpoint_of(BOTH))
    (tmp_path / "text.txt").write_text("a river 中\n", encoding="utf-8")
    assert main(["embed", str(tmp_path / "text.txt"), str(tmp_path / "v.jsonl"), "--model", str(model)]) == 0
    vectors = json.loads((tmp_path / "v.jsonl").read_text(encoding="utf-8"))["vectors"]
    ours = Elmo.from_pretrained(model, device="cpu").encode_tokens([["a", "river", "中"]])[0]
    torch.testing.assert_close(torch.tensor(vectors), torch.from_numpy(ours), atol=1e-5, rtol=0)


# What is written


def test_what_cannot_be_held_is_said(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(BOTH)
    checkpoint = dataclasses.replace(checkpoint, card="# card", config=dataclasses.replace(checkpoint.config, license="MIT"))
    message = "layout of ELMoForManyLangs cannot hold the tokenizer and normalization, the licence, the model card: left out"
    with pytest.warns(UserWarning, match=message):
        save_manylangs(checkpoint, tmp_path / "m")


@pytest.mark.parametrize(
    "change",
    [{"forget_bias": 1.0}, {"skip_connections": False}, {"char_cnn": dataclasses.replace(CNN, code_points=None)}],
)
def test_only_their_models_can_be_written(change: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = checkpoint_of(dataclasses.replace(BOTH, **change))
    with pytest.raises(ValueError, match="test: only a model that came from the layout of ELMoForManyLangs"):
        save_manylangs(checkpoint, tmp_path / "m")
    with pytest.raises(ValueError, match="only a model that came from the layout of ELMoForManyLangs"):
        save_manylangs(full_checkpoint(), tmp_path / "m")
    with pytest.raises(ValueError, match="the published layout cannot hold this model"):
        save_hdf5(checkpoint_of(BOTH), tmp_path / "m")
    with pytest.raises(ValueError, match="reads forward alone, and the layout of ELMoForManyLangs always holds both directions"):
        save_manylangs(forward_alone(checkpoint_of(BOTH)), tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("entry", ["a\tb", "a\nb", " a", "\u00a0", "\ud800"])
def test_an_entry_that_no_line_holds(entry: str, tmp_path: Path) -> None:
    table = CharacterTable({**LETTERS, entry: 0}, 12)
    with pytest.raises(ValueError, match="char.dic cannot hold the entry"):
        save_manylangs(dataclasses.replace(checkpoint_of(BOTH), input_characters=table), tmp_path / "m")
    assert not list(tmp_path.iterdir())


# What is read


def test_the_architecture_is_found_by_the_last_part_of_its_path(model: Path) -> None:
    (model / "cnn_config.json").rename(model / "cnn_50.json")
    for path in ("/home/someone/cnn_50.json", r"C:\configs\cnn_50.json", "cnn_50.json"):
        change_json(model / "config.json", "config_path", path)
        assert same(load_manylangs(model), checkpoint_of(BOTH))


@pytest.mark.parametrize("path", ["/elsewhere/cnn.json", "", "..", "a/", "config.json"])
def test_without_it_the_published_one_is_assumed(path: str, model: Path) -> None:
    (model / "cnn_config.json").unlink()
    change_json(model / "config.json", "config_path", path)
    with pytest.raises(FormatError, match=r"word_emb_layer.* of shape \(8, 100\) by the published architecture"):
        load_manylangs(model)


def test_the_published_architecture(tmp_path: Path) -> None:
    """Of a model with its sizes, but for a small LSTM, which is what takes time."""
    embedder = PUBLISHED_ARCHITECTURE["token_embedder"]
    cnn = dataclasses.replace(CNN, embedding_dim=50, filters=embedder["filters"], activation="relu", max_characters=50)
    config = dataclasses.replace(BOTH, char_cnn=cnn, word_table=dataclasses.replace(TABLE, dim=100), cell_clip=3.0)
    checkpoint = dataclasses.replace(
        checkpoint_of(config), input_words=WordTable(WORDS, MANYLANGS_MARKS, 48), input_characters=CharacterTable(LETTERS)
    )
    save_manylangs(checkpoint, tmp_path / "m")
    written = json.loads((tmp_path / "m/cnn_config.json").read_bytes())
    assert written["token_embedder"] == embedder
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PUBLISHED_ARCHITECTURE, "encoder", written["encoder"])
        (tmp_path / "m/cnn_config.json").unlink()
        assert same(load_manylangs(tmp_path / "m"), checkpoint)


def test_lines_of_white_space_are_the_ideographic_space(model: Path) -> None:
    lines = (model / "char.dic").read_text(encoding="utf-8").split("\n")
    assert "\u3000\t4" in lines
    (model / "char.dic").write_text("\n".join(lines).replace("\u3000\t4", "4").replace("a\t0", "\u00a0\t0"), encoding="utf-8")
    table = load_manylangs(model).input_characters
    assert table is not None
    assert table.ids["\u3000"] == 4, "the last one counts"
    assert "\u00a0" not in table.ids


@pytest.mark.parametrize(
    ("name", "languages", "chinese"),
    [
        ("179", None, True),
        ("zh.model", None, True),
        ("zht", ["en"], True),
        ("m", ["zho"], True),
        ("m", ["eus"], False),
        ("m", 3, False),
    ],
)
def test_chinese_expects_traditional_characters(name: str, languages: Any, chinese: bool, model: Path) -> None:
    folder = model.rename(model.parent / name)
    if languages is not None:
        corpus = [{"language": code} for code in languages] if isinstance(languages, list) else languages
        (folder / "meta.json").write_text(json.dumps({"corpus": corpus}), encoding="utf-8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checkpoint = load_checkpoint(folder)
    assert [("traditional characters" in str(warning.message)) for warning in caught] == [True] * chinese
    said = tuple(languages) if isinstance(languages, list) else ()
    assert checkpoint.config.languages == (("zh-Hant",) if chinese else said)


@pytest.mark.parametrize(
    ("file", "key", "value", "message"),
    [
        ("config.json", "config_path", 3, "key config_path is 3, expected the path"),
        ("config.json", "config_path", ..., "key config_path is None, expected the path"),
        ("cnn_config.json", "encoder", ..., "key encoder.name is missing or null"),
        ("cnn_config.json", "encoder.name", "lstm", "key encoder.name is 'lstm'; only models with 'elmo' are read"),
        ("cnn_config.json", "token_embedder.name", "lstm", "key token_embedder.name is 'lstm'; only models with 'cnn' are read"),
        ("cnn_config.json", "token_embedder.word_dim", "5", "key token_embedder.word_dim is '5', expected a whole number"),
        ("cnn_config.json", "token_embedder.word_dim", 0, r"projection.weight is .*, expected .* \(4, 9\)"),
        ("cnn_config.json", "token_embedder.word_dim", -5, "dim must be above 0"),
        (
            "cnn_config.json",
            "token_embedder.char_dim",
            4,
            r"char_emb_layer.embedding.weight is .* expected .* \(14, 4\)",
        ),
        (
            "cnn_config.json",
            "token_embedder.filters",
            [[1, 4]],
            r"highways._layers.0.weight is .*, expected .* \(8, 4\)",
        ),
        ("cnn_config.json", "token_embedder.filters", [[1, "4"]], "token_embedder.filters is .*, expected a list of pairs"),
        ("cnn_config.json", "token_embedder.n_highway", 3, "highways._layers.2.weight is missing"),
        ("cnn_config.json", "token_embedder.n_highway", 1, "highways._layers.1.bias has no place"),
        ("cnn_config.json", "token_embedder.activation", "gelu", "activation must be one of relu, tanh"),
        ("cnn_config.json", "token_embedder.max_characters_per_token", 2, "words must keep 1 or more characters, not 0"),
        ("cnn_config.json", "token_embedder.max_characters_per_token", ..., "max_characters_per_token is missing"),
        (
            "cnn_config.json",
            "encoder.dim",
            10**7,
            r"input_linearity.weight is .* expected .* \(40000000, 4\)",
        ),
        ("cnn_config.json", "encoder.n_layers", 3, "forward_layer_2.input_linearity.weight is missing"),
        ("cnn_config.json", "encoder.n_layers", 1, "backward_layer_1.input_linearity.weight has no place"),
        ("cnn_config.json", "encoder.projection_dim", 5, r"projection.weight is .*, expected float32 of shape \(5, 14\)"),
        ("cnn_config.json", "encoder.cell_clip", "3", "key encoder.cell_clip is '3', expected a number"),
    ],
)
def test_wrong_configurations(file: str, key: str, value: object, message: str, model: Path) -> None:
    change_json(model / file, key, value)
    with pytest.raises(FormatError, match=message) as caught:
        load_manylangs(model)
    assert str(model) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("char.dic", b"", "char.dic, line 1: '', expected an entry, a tab and an id from 0 to 13"),
        ("char.dic", b"a\t0\n\nb\t1\n", "char.dic, line 2: ''"),
        ("char.dic", b"a\t0\nb\t14\n", "char.dic, line 2: .*, expected an entry, a tab and an id from 0 to 13"),
        ("char.dic", b"a\t-1\n", "char.dic, line 1"),
        ("char.dic", b"a\t1.0\n", "char.dic, line 1"),
        ("char.dic", b"a\t1_0\n", "char.dic, line 1"),
        ("char.dic", "a\t٣\n".encode(), "char.dic, line 1"),
        ("char.dic", b"a\tb\t1\n", "char.dic, line 1"),
        ("char.dic", b"a\n", "char.dic, line 1"),
        ("char.dic", b"a\t0\n\xff\t1\n", "char.dic, line 2: not UTF-8"),
        ("char.dic", b"a\t" + b"9" * 5000, "char.dic, line 1"),
        ("char.dic", b"a\t0\n", "char.dic: the table of characters has no entry <bos>"),
        ("word.dic", b"a\t0\n", "word.dic: the table of words has no entry <bos>"),
        ("token_embedder.pkl", b"", "token_embedder.pkl: no PyTorch file"),
        ("encoder.pkl", b"<html>404</html>", "encoder.pkl: no PyTorch file"),
    ],
)
def test_wrong_files(name: str, data: bytes, message: str, model: Path) -> None:
    (model / name).write_bytes(data)
    with pytest.raises(FormatError, match=message):
        load_manylangs(model)


@pytest.mark.parametrize("name", FILES)
def test_missing_files(name: str, model: Path) -> None:
    if name == "cnn_config.json":
        return  # another one is assumed, as tested above
    (model / name).unlink()
    with pytest.raises(ValueError, match=name):
        load_checkpoint(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("projection.bias"), "projection.bias is missing, expected float32 of shape"),
        (lambda tensors: tensors.update(more=torch.zeros(1)), "more has no place in the network"),
        (lambda tensors: tensors.update({"projection.bias": torch.zeros(5)}), r"projection.bias is float32 of shape \(5,\)"),
        (lambda tensors: tensors.update({"projection.bias": torch.zeros(4).half()}), "projection.bias is float16"),
        (lambda tensors: tensors.update({"projection.bias": torch.zeros(8)[::2]}), r"projection.bias is .* strides \(2,\)"),
        (lambda tensors: tensors["projection.bias"].fill_(torch.nan), "projection.bias has numbers that are not finite"),
        (lambda tensors: tensors.update({"word_emb_layer.embedding.weight": torch.zeros(5)}), "is missing, or is no matrix"),
        (lambda tensors: tensors.update({"projection.bias": 3}), "projection.bias is int, expected a tensor"),
    ],
)
def test_wrong_tensors(change: Callable[[dict[str, Tensor]], object], message: str, model: Path) -> None:
    change_state(model / "token_embedder.pkl", change)
    with pytest.raises(FormatError, match=f"token_embedder.pkl: .*{message}"):
        load_manylangs(model)


class Evil:
    """What runs a program when it is unpickled by an unpickler that lets it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_a_pickle_runs_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for is_zip in (False, True):
        torch.save(OrderedDict(a=Evil()), model / "encoder.pkl", _use_new_zipfile_serialization=is_zip)
        with pytest.raises(FormatError, match="encoder.pkl: no PyTorch file of tensors alone"):
            load_manylangs(model)
    assert not (tmp_path / "ran").exists()


def test_newer_pickles_are_read_too(model: Path) -> None:
    for name in ("encoder.pkl", "token_embedder.pkl"):
        torch.save(state(model / name), model / name)
    assert same(load_manylangs(model), checkpoint_of(BOTH))


# Damage


def is_refused(folder: Path) -> bool:
    """Whether a folder is refused with the one error; what is not has the right shapes, and finite numbers."""
    try:
        checkpoint = load_checkpoint(folder)
    except FormatError as error:
        return str(folder) in str(error)
    shapes = {entry.name: entry.shape for entry in bilm_layout(checkpoint.config.bilm)}
    assert {key: tuple(tensor.shape) for key, tensor in checkpoint.bilm.items()} == shapes
    assert all(tensor.isfinite().all() for tensor in checkpoint.bilm.values())
    read = checkpoint.reader(["river", "中", "<S>"])
    assert read.min() >= 0
    assert read[:, 0].max() < len(checkpoint.bilm["words.table.embedding.weight"])
    assert read[:, 1:].max() < len(checkpoint.bilm["words.characters.embedding.weight"])
    return False


@pytest.mark.parametrize("number", [60, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
def test_cut_files(name: str, number: int, model: Path) -> None:
    refused = [is_refused(model) for _ in cuts(model / name, number)]
    assert refused[0]
    if name.endswith(".pkl"):  # text may lose its end unseen
        assert all(refused)
    assert same(load_manylangs(model), checkpoint_of(BOTH))


@pytest.mark.parametrize("number", [150, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
def test_changed_bytes(name: str, number: int, model: Path) -> None:
    refused = [is_refused(model) for _ in bytes_changed(model / name, number)]
    assert any(refused)
    assert same(load_manylangs(model), checkpoint_of(BOTH))
