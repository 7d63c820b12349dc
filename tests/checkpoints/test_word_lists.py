"""Models that read whole words, in the published layout and in our folder, with the list of their words."""

import dataclasses
import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tests.checkpoints.damage import bytes_changed, cuts
from tests.checkpoints.small_models import (
    WORD_TABLE,
    WORDS,
    change_json,
    different_datasets,
    same_tensors,
    seal,
    words_checkpoint,
)

from elmokit import Elmo
from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.folder import load_folder, save_folder
from elmokit.checkpoints.hdf5 import save_hdf5
from elmokit.checkpoints.layout import bilm_layout
from elmokit.checkpoints.load import load_checkpoint
from elmokit.checkpoints.word_lists import find_words, save_input_words
from elmokit.errors import FormatError
from elmokit.text.tables import MANYLANGS_MARKS, WordTable

pytestmark = pytest.mark.filterwarnings("ignore:.*the published layout cannot hold:UserWarning")
LINES = "river\n</S>\na b\n银行\n<UNK>\n\x00\n<S>\n\ud800\nbank\n".encode("utf-8", "surrogatepass")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_hdf5(words_checkpoint(), tmp_path / "model")
    return tmp_path / "model"


def is_whole(checkpoint: Checkpoint) -> bool:
    """Whether it is the model of `words_checkpoint`, to the last bit."""
    expected = words_checkpoint()
    same = same_tensors(checkpoint.bilm, expected.bilm) and checkpoint.config.bilm == expected.config.bilm
    return same and checkpoint.input_words == expected.input_words


def test_round_trips(model: Path, tmp_path: Path) -> None:
    assert (model / "vocab.txt").read_bytes() == LINES
    checkpoint = load_checkpoint(model)
    assert is_whole(checkpoint)
    save_folder(checkpoint, tmp_path / "folder")
    assert is_whole(load_folder(tmp_path / "folder"))
    save_hdf5(load_folder(tmp_path / "folder"), tmp_path / "again")
    assert different_datasets(model / "weights.hdf5", tmp_path / "again/weights.hdf5") == []
    for name in ("options.json", "vocab.txt"):
        assert (model / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    with h5py.File(model / "weights.hdf5", "r+") as file:
        file["embedding"][3, 1] += 1
    assert not is_whole(load_checkpoint(model))
    assert different_datasets(model / "weights.hdf5", tmp_path / "again/weights.hdf5") == ["embedding"]


def test_everything_works_with_such_a_model(model: Path, tmp_path: Path) -> None:
    elmo = Elmo.from_pretrained(model, device="cpu")
    sentence = ["river", "bank", "unheard-of", "<UNK>", "a b"]
    vectors = elmo.encode_tokens([sentence, ["bank"]], layers="all")
    np.testing.assert_array_equal(vectors[0][0, 0, :4], elmo.bilm.state_dict()["words.embedding.weight"][0])
    np.testing.assert_array_equal(vectors[0][0, 2], vectors[0][0, 3])
    document = elmo.encode_document([sentence, ["bank"]], layers="all", window=2)
    np.testing.assert_allclose(document[:, :5], vectors[0], atol=1e-6)
    elmo.save_pretrained(tmp_path / "saved")
    again = Elmo.from_pretrained(tmp_path / "saved", device="cpu")
    np.testing.assert_array_equal(again.encode_tokens([sentence])[0], elmo.encode_tokens([sentence])[0])


@pytest.mark.parametrize("name", ["vocab.txt.gz", "my_vocab.txt", "vocab-2016-09-10.txt", "model.vocab"])
def test_the_list_has_many_names(name: str, model: Path) -> None:
    (model / "vocab.txt").unlink()
    (model / name).write_bytes(gzip.compress(LINES) if name.endswith(".gz") else LINES.replace(b"\n", b" \r\n") + b"!!!MAXTERMID")
    (model / "vocab_other.txt").write_bytes(b"of\nanother\nsize\n")
    assert is_whole(load_checkpoint(model))


@pytest.mark.parametrize(
    "data", [b"", LINES + b"more\n", LINES[:-5], b"\xff\n" * 9, gzip.compress(LINES)[:-9], gzip.compress(b"x" * 100_000)]
)
def test_no_list_that_fits(data: bytes, model: Path) -> None:
    (model / "vocab.txt").unlink()
    (model / ("vocab.txt.gz" if data.startswith(b"\x1f\x8b") else "vocab.txt")).write_bytes(data)
    with pytest.raises(FormatError, match=r"weights.hdf5: this model reads whole words; expected their list .* with 9 lines"):
        load_checkpoint(model)


def test_a_packed_list_and_a_size_that_lies(tmp_path: Path) -> None:
    """Neither what another file says of the number of words nor the list itself takes memory that it does not need."""
    (tmp_path / "vocab.txt.gz").write_bytes(gzip.compress(LINES))
    assert find_words(tmp_path, 2**60) is None
    found = find_words(tmp_path, 9)
    assert found is not None
    assert len(found[0]) == 9
    (tmp_path / "vocab.txt.gz").write_bytes(gzip.compress(b"word\n" * 10**6))
    with pytest.raises(FormatError, match=r"vocab\.txt\.gz: unpacks to more than 20 times its size"):
        find_words(tmp_path, 10**6)


def test_a_list_without_a_mark(model: Path) -> None:
    (model / "vocab.txt").write_bytes(LINES.replace(b"<UNK>", b"unk"))
    with pytest.raises(FormatError, match=r"vocab.txt: the table of words has no entry <UNK>"):
        load_checkpoint(model)


def test_of_equal_lines_the_last_one_counts(model: Path, tmp_path: Path) -> None:
    (model / "vocab.txt").write_bytes(LINES.replace(b"bank", b"river"))
    checkpoint = load_checkpoint(model)
    assert checkpoint.reader(["river", "bank"]).tolist() == [[8], [4]]
    with pytest.raises(ValueError, match="cannot hold this model's table of words: row 0 has no word"):
        save_hdf5(checkpoint, tmp_path / "again")
    save_folder(checkpoint, tmp_path / "folder")
    assert load_folder(tmp_path / "folder").input_words == checkpoint.input_words


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (dataclasses.replace(WORD_TABLE, ids={**WORD_TABLE.ids, "bank": 0}), "cannot hold the word 'bank' of row 0"),
        (dataclasses.replace(WORD_TABLE, ids={"a\nb": 3}, marks=("a\nb",) * 3), "cannot hold the word 'a.nb' of row 3"),
        (dataclasses.replace(WORD_TABLE, ids={" a": 3}, marks=(" a",) * 3), "cannot hold the word ' a' of row 3"),
        (WordTable({word: i for i, word in enumerate([*MANYLANGS_MARKS, *"abcdef"])}, MANYLANGS_MARKS), "its marks"),
        (dataclasses.replace(WORD_TABLE, longest=3), "its marks or its cutting of words are others"),
    ],
)
def test_a_list_holds_no_other_tables(table: WordTable, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        save_input_words(table, 9, tmp_path / "vocab.txt")
    assert not list(tmp_path.iterdir())


def test_word_vectors_without_their_lstms(model: Path) -> None:
    with h5py.File(model / "weights.hdf5", "r+") as file:
        del file["RNN_0"], file["RNN_1"]
    for found, name in enumerate(["a_weights.hdf5", "b_weights.hdf5"]):
        if found != 1:
            with pytest.raises(FormatError, match=f"holds word vectors alone; expected one .* beside it, found {found}"):
                load_checkpoint(model / "weights.hdf5")
        (model / name).write_bytes(b"")
    with pytest.raises(FormatError, match="holds word vectors alone; expected one .* beside it, found 2"):
        load_checkpoint(model / "weights.hdf5")


def test_a_table_of_another_width(model: Path) -> None:
    change_json(model / "options.json", "lstm.projection_dim", 5)
    with pytest.raises(FormatError, match=r"dataset embedding has the shape \(9, 4\), expected float32 of shape \(9, 5\)"):
        load_checkpoint(model)


def test_other_models_have_no_place_in_this_layout(tmp_path: Path) -> None:
    projected = dataclasses.replace(WORDS.word_table, projection=True, dim=3) if WORDS.word_table else None
    for change in ({"word_table": projected}, {"forget_bias": 0.0}):
        config = dataclasses.replace(words_checkpoint().config, bilm=dataclasses.replace(WORDS, **change))
        with pytest.raises(ValueError, match="test: the published layout cannot hold this model"):
            save_hdf5(dataclasses.replace(words_checkpoint(), config=config), tmp_path / "model")
    assert not list(tmp_path.iterdir())


# Damage


def loads_whole_or_says_why(folder: Path, name: str) -> bool:
    """Whether it is refused; what is not has the right shapes."""
    try:
        checkpoint = load_checkpoint(folder)
    except FormatError as error:
        return str(folder) in str(error)
    shapes = {entry.name: entry.shape for entry in bilm_layout(checkpoint.config.bilm)}
    assert {key: tuple(tensor.shape) for key, tensor in checkpoint.bilm.items()} == shapes, name
    assert checkpoint.reader(["river", "x"]).max() < shapes["words.embedding.weight"][0]
    return False


@pytest.mark.parametrize(("number_cut", "number_changed"), [(40, 60), pytest.param(200, 1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["weights.hdf5", "vocab.txt", "options.json"])
def test_cut_and_changed_files(name: str, number_cut: int, number_changed: int, model: Path) -> None:
    path = model / name
    refused = [loads_whole_or_says_why(model, name) for _ in cuts(path, number_cut)]
    assert refused[0]
    if name == "weights.hdf5":  # text may lose its end unseen
        assert all(refused)
    refused = [loads_whole_or_says_why(model, name) for _ in bytes_changed(path, number_changed)]
    assert any(refused)
    assert is_whole(load_checkpoint(model))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ids", ..., "key ids must be an object"),
        ("ids", [1], "key ids must be an object"),
        ("ids.river", 9, "the id of 'river' is 9, expected a whole number from 0 to 8"),
        ("ids.river", -1, "the id of 'river' is -1"),
        ("ids.river", True, "the id of 'river' is True"),
        ("ids.<S>", ..., "the table of words has no entry <S>"),
        ("marks", ["<S>"], "key marks is .*, expected three words"),
        ("marks", ["<S>", "</S>", 3], "key marks is .*, expected three words"),
        ("longest", 0, "key longest is 0, expected a whole number above 0"),
        ("longest", "9", "key longest is '9'"),
    ],
)
def test_a_wrong_table_in_a_model_folder(key: str, value: object, message: str, tmp_path: Path) -> None:
    save_folder(words_checkpoint(), tmp_path / "m")
    change_json(tmp_path / "m/input_words.json", key, value)
    with pytest.raises(FormatError, match="input_words.json: damaged or exchanged"):
        load_folder(tmp_path / "m")
    seal(tmp_path / "m", "input_words.json")
    with pytest.raises(FormatError, match=rf"input_words.json: {message}"):
        load_folder(tmp_path / "m")


def test_a_tied_softmax_is_stored_once(tmp_path: Path) -> None:
    checkpoint = words_checkpoint()
    head = {"weight": checkpoint.bilm["words.embedding.weight"].clone(), "bias": torch.zeros(9)}
    assert dataclasses.replace(checkpoint, head=head).tied
    head["weight"][0, 0] += 1
    assert not dataclasses.replace(checkpoint, head=head).tied
