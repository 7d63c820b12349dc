"""Models that TensorFlow wrote: bilm-tf's own numbers, and SavedModels as its programs would name them."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoints.damage import bytes_changed, cuts, unless_refused
from tests.checkpoints.small_models import SMALL, change_json, full_checkpoint, same_tensors
from tests.checkpoints.tf_bundles import variables_of, write_bundle, write_saved_model, write_training_folder
from tests.golden.cases import DATA, load_case
from tests.golden.test_loss_cases import FORWARD_CASE, WORD_CASES

from elmokit.checkpoints.checkpoint import Checkpoint, LayerMix, random_checkpoint
from elmokit.checkpoints.hdf5 import load_hdf5
from elmokit.checkpoints.load import load_checkpoint
from elmokit.cli.main import main
from elmokit.config import CharCnnConfig, ElmoConfig, WordTableConfig
from elmokit.errors import FormatError
from elmokit.lm.language_model import lm_batch
from elmokit.lm.load import load_language_model
from elmokit.text.files import read_lines
from elmokit.text.lexicon import Lexicon
from elmokit.text.streams import SentenceStreams
from elmokit.text.tables import WordTable

TRAINED = full_checkpoint()
PUBLISHED = random_checkpoint(ElmoConfig(bilm=SMALL), seed=4)
"""Of the published clips, activation and skips: a SavedModel does not say them."""
HEADLESS = pytest.mark.filterwarnings("ignore:.*the language model's head is left out:UserWarning")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A training folder."""
    return write_training_folder(tmp_path / "trained", TRAINED)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A SavedModel."""
    return write_saved_model(tmp_path / "saved", PUBLISHED)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """The folder that bilm-tf's training left, put together from what ships."""
    folder = tmp_path / "recorded"
    shutil.copytree(DATA / "training/checkpoint", folder)
    arrays = load_case("checkpoint").arrays
    names = sorted((name for name in arrays if name.startswith("ckpt/")), key=str.encode)
    (folder / "model.ckpt-80.data-00000-of-00001").write_bytes(b"".join(arrays[name].tobytes() for name in names))
    shutil.copy(DATA / "training/vocab.txt", tmp_path)
    return folder


# bilm-tf's training folder


def check_recorded(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    expected = load_hdf5(DATA / "training/inference_options.json", DATA / "training/dumped_weights.hdf5")
    arrays = load_case("checkpoint").arrays
    assert same_tensors(checkpoint.bilm, expected.bilm)
    assert checkpoint.config.bilm == expected.config.bilm
    assert checkpoint.config.text.tokenizer == "whitespace"  # bilm-tf's texts are split already
    assert checkpoint.head is not None
    assert np.array_equal(checkpoint.head["weight"], arrays["ckpt/lm/softmax/W"])
    assert np.array_equal(checkpoint.head["bias"], arrays["ckpt/lm/softmax/b"])


def test_a_checkpoint_of_bilm_tf(recorded: Path) -> None:
    check_recorded(recorded)


def test_the_original_files(shared: Path) -> None:
    check_recorded(shared / "golden/training/checkpoint")


def test_perplexity_is_that_of_bilm_tf(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its vocabulary lies one folder above, as it was published; the whole way from the command line."""
    heldout = DATA / "training/heldout.txt"
    assert main(["perplexity", str(recorded), str(heldout), "--json"]) == 0
    expected = load_case("checkpoint").facts["heldout_perplexity"]["batch_size_1"]
    assert json.loads(capsys.readouterr().out)["mean"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("prefix", ["lm/", "", "model/lm/"])
@pytest.mark.parametrize("shards", [1, 3])
def test_there_and_back(prefix: str, shards: int, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(write_training_folder(tmp_path / "model", TRAINED, prefix, shards))
    assert same_tensors(checkpoint.bilm, TRAINED.bilm)
    assert same_tensors(checkpoint.head, TRAINED.head)
    assert (checkpoint.config.bilm, checkpoint.vocabulary) == (SMALL, TRAINED.vocabulary)


def test_each_file_of_a_checkpoint_names_it(trained: Path) -> None:
    for name in ("checkpoint", "model.ckpt-80", "model.ckpt-80.index", "model.ckpt-80.data-00000-of-00001"):
        assert same_tensors(load_checkpoint(trained / name).bilm, TRAINED.bilm)


def test_several_checkpoints(trained: Path) -> None:
    write_bundle(trained / "model.ckpt-9", variables_of(random_checkpoint(TRAINED.config, 9), "training", "lm/"))
    assert same_tensors(load_checkpoint(trained).bilm, TRAINED.bilm)
    with pytest.warns(UserWarning, match="has no softmax"):
        assert not same_tensors(load_checkpoint(trained / "model.ckpt-9.index").bilm, TRAINED.bilm)
    (trained / "checkpoint").unlink()
    with pytest.raises(FormatError, match=r"has 2 files \*\.index and no file checkpoint"):
        load_checkpoint(trained)
    (trained / "model.ckpt-9.index").unlink()
    assert same_tensors(load_checkpoint(trained).bilm, TRAINED.bilm)


@pytest.mark.parametrize("layers", [1, 3])
def test_any_number_of_layers(layers: int, tmp_path: Path) -> None:
    """A single layer is no MultiRNNCell to TensorFlow, and its name has no number."""
    checkpoint = full_checkpoint(dataclasses.replace(SMALL, layers=layers))
    write_training_folder(tmp_path / "model", checkpoint)
    if layers == 1:
        arrays = variables_of(checkpoint, "training", "lm/")
        write_bundle(tmp_path / "model/model.ckpt-80", {k.replace("multi_rnn_cell/cell_0/", ""): v for k, v in arrays.items()})
    assert same_tensors(load_checkpoint(tmp_path / "model").bilm, checkpoint.bilm)


def test_a_projection_that_bilm_tf_leaves_out(tmp_path: Path) -> None:
    cnn = CharCnnConfig(embedding_dim=3, filters=((2, 4),), highways=0, projection=False)
    checkpoint = full_checkpoint(dataclasses.replace(SMALL, char_cnn=cnn))
    assert same_tensors(load_checkpoint(write_training_folder(tmp_path / "model", checkpoint)).bilm, checkpoint.bilm)


def test_special_words_anywhere(trained: Path) -> None:
    """bilm-tf finds them wherever they stand; the words keep their scores."""
    assert TRAINED.head is not None
    words = ["river", "</S>", "<UNK>", "bank", "<S>", "银行"]
    (trained / "vocab.txt").write_text("!!!MAXTERMID\n" + "".join(f" {word}\t\n" for word in words), encoding="utf-8")
    checkpoint = load_checkpoint(trained)
    assert checkpoint.head is not None
    assert checkpoint.vocabulary is not None
    assert checkpoint.vocabulary.words == ("<S>", "</S>", "<UNK>", "river", "bank", "银行")
    for word, weight, bias in zip(checkpoint.vocabulary.words, checkpoint.head["weight"], checkpoint.head["bias"], strict=True):
        assert torch.equal(weight, TRAINED.head["weight"][words.index(word)])
        assert bias == TRAINED.head["bias"][words.index(word)]


def test_no_vocabulary(trained: Path) -> None:
    (trained / "vocab.txt").write_text("<S>\n</S>\n<UNK>\n", encoding="utf-8")
    (trained / "vocab.bin.txt").write_bytes(b"\xff\n" * 6)
    with pytest.warns(UserWarning, match=r"a vocabulary of 6 words .* is missing: the language model's head is left out"):
        checkpoint = load_checkpoint(trained)
    assert (checkpoint.head, checkpoint.vocabulary) == (None, None)
    assert same_tensors(checkpoint.bilm, TRAINED.bilm)


@pytest.mark.parametrize(
    ("words", "says"),
    [("<S> </S> the a an is", "<UNK> is missing"), ("<S> </S> <UNK> a b a", "stands already")],
)
def test_a_wrong_vocabulary(words: str, says: str, trained: Path) -> None:
    (trained / "vocab.txt").write_text("\n".join(words.split()), encoding="utf-8")
    with pytest.raises(FormatError, match=f"vocab.txt.*{says}"):
        load_checkpoint(trained)


# SavedModels


@pytest.mark.parametrize("prefix", ["bilm/", "module/bilm/", ""])
@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("options", [True, False])
def test_saved_models(prefix: str, shards: int, options: bool, tmp_path: Path) -> None:
    checkpoint = PUBLISHED
    if options:  # which say what shapes cannot
        bilm = dataclasses.replace(SMALL, cell_clip=0.5, skip_connections=False)
        checkpoint = dataclasses.replace(PUBLISHED, config=ElmoConfig(bilm=bilm))
    folder = write_saved_model(tmp_path / "model", checkpoint, prefix, shards)
    if options:
        write_training_folder(tmp_path / "other", checkpoint)
        shutil.copy(tmp_path / "other/options.json", folder)
    loaded = load_checkpoint(folder)
    assert same_tensors(loaded.bilm, checkpoint.bilm)
    assert (loaded.config, loaded.mixes) == (checkpoint.config, ())
    assert "unverified on the original files" in loaded.origin


def test_saved_models_in_the_other_style(tmp_path: Path) -> None:
    """261 characters, TensorFlow's newer names of cells."""
    write_bundle(tmp_path / "variables/variables", variables_of(PUBLISHED, "training", "lm/"))
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert same_tensors(load_checkpoint(tmp_path).bilm, PUBLISHED.bilm)
    assert same_tensors(load_checkpoint(tmp_path / "saved_model.pb").bilm, PUBLISHED.bilm)


@pytest.mark.parametrize("scaling", [np.float32(1.5), np.array([1.5], np.float32)])
def test_the_mix_of_a_saved_model(scaling: Any, tmp_path: Path) -> None:
    extra = {"module/aggregation/weights": np.array([0.5, -1, 2], np.float32), "module/aggregation/scaling": scaling}
    loaded = load_checkpoint(write_saved_model(tmp_path, PUBLISHED, **extra))
    assert loaded.mixes == (LayerMix((0.5, -1.0, 2.0), 1.5),)


# What is wrong is said


@HEADLESS
@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("lm/char_embed", None, r"no variable for char_embed, expected floats of shape \(261, 3\) or \(262, 3\) by .*options"),
        ("lm/char_embed", np.zeros((263, 3), np.float32), r"variable lm/char_embed has the shape \(263, 3\)"),
        ("lm/CNN/W_cnn_0", np.zeros((1, 1, 3, 4), np.int32), "variable lm/CNN/W_cnn_0 is no array of floats"),
        ("lm/CNN_high_1/W_carry", np.zeros((9, 9), np.float32), "variable lm/CNN_high_1/W_carry has no place in the network"),
        ("tower/lm/char_embed", np.zeros((261, 3), np.float32), "two variables for char_embed: lm/char_embed and tower/lm"),
        (
            "lm/RNN_1/rnn/multi_rnn_cell/cell_1/lstm_cell/kernel",
            None,
            "no variable for RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell/W_0",
        ),
        ("lm/softmax/W", np.zeros((6, 5), np.float32), r"variable lm/softmax/W has the shape \(6, 5\), expected .*\(6, 4\)"),
        ("lm/softmax/W", None, "no variable for softmax/W"),
    ],
)
def test_variables_that_do_not_fit(name: str, array: Any, says: str, trained: Path) -> None:
    arrays = variables_of(TRAINED, "training", "lm/")
    arrays.pop(name, None)
    write_bundle(trained / "model.ckpt-80", arrays if array is None else {**arrays, name: array})
    with pytest.raises(FormatError, match=rf"model\.ckpt-80\.index: .*{says}"):
        load_checkpoint(trained)


def test_files_that_are_missing(trained: Path, saved: Path) -> None:
    (trained / "checkpoint").write_text("model_checkpoint_path: elsewhere", encoding="utf-8")
    with pytest.raises(FormatError, match="names no model_checkpoint_path"):
        load_checkpoint(trained)
    (trained / "checkpoint").write_text('model_checkpoint_path: "C:\\\\runs\\\\model.ckpt-7"', encoding="utf-8")
    with pytest.raises(FormatError, match=r"model.ckpt-7.index: missing, though checkpoint names it"):
        load_checkpoint(trained)
    (trained / "options.json").unlink()
    with pytest.raises(ValueError, match="options.json: cannot be read"):
        load_checkpoint(trained / "model.ckpt-80.index")
    (trained / "model.ckpt-80.index").unlink()
    with pytest.raises(ValueError, match="model.ckpt-80.index: no such file"):
        load_checkpoint(trained / "model.ckpt-80.data-00000-of-00001")
    (saved / "variables/variables.index").unlink()
    with pytest.raises(FormatError, match=r"variables.index: missing, though saved_model.pb is there"):
        load_checkpoint(saved)


def test_a_saved_model_of_something_else(tmp_path: Path) -> None:
    write_bundle(tmp_path / "variables/variables", {"dense/kernel": np.zeros((2, 2), np.float32)})
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(FormatError, match=r"variables.index: tensor .* is missing, .*; is this an ELMo model\?"):
        load_checkpoint(tmp_path)


def test_sizes_that_cannot_be(trained: Path) -> None:
    """Options may ask for anything: nothing is built before the index agrees."""
    change_json(trained / "options.json", "char_cnn.embedding.dim", 10**7)
    with pytest.raises(FormatError, match=r"expected floats of shape \(261, 10000000\)"):
        load_checkpoint(trained)


def whole_or_refused(folder: Path) -> None:
    """After damage: the one error, or a model that is whole."""
    checkpoint = unless_refused(lambda: load_checkpoint(folder), folder)
    if checkpoint is not None:
        assert {name: tensor.shape for name, tensor in checkpoint.bilm.items()} == {
            name: tensor.shape for name, tensor in TRAINED.bilm.items()
        }
        assert all(tensor.isfinite().all() for tensor in [*checkpoint.bilm.values(), *(checkpoint.head or {}).values()])


FILES = ["checkpoint", "options.json", "vocab.txt", "model.ckpt-80.index", "model.ckpt-80.data-00000-of-00001"]


@HEADLESS
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("number_of_cuts", "number_of_flips"), [(10, 20), pytest.param(200, 1000, marks=pytest.mark.slow)], ids=["quick", "many"]
)
def test_damage(file: str, number_of_cuts: int, number_of_flips: int, trained: Path) -> None:
    for damage in (cuts(trained / file, number_of_cuts), bytes_changed(trained / file, number_of_flips)):
        for _ in damage:
            whole_or_refused(trained)


@pytest.mark.parametrize("file", ["variables.index", "variables.data-00000-of-00002", "variables.data-00001-of-00002"])
@pytest.mark.parametrize(
    ("number_of_cuts", "number_of_flips"), [(10, 20), pytest.param(200, 1000, marks=pytest.mark.slow)], ids=["quick", "many"]
)
def test_damage_of_a_saved_model(file: str, number_of_cuts: int, number_of_flips: int, tmp_path: Path) -> None:
    """Every block of its index and every variable has a checksum: equal or refused."""
    folder = write_saved_model(tmp_path / "model", PUBLISHED, shards=2)
    damaged = folder / "variables" / file
    for damage in (cuts(damaged, number_of_cuts), bytes_changed(damaged, number_of_flips)):
        for _ in damage:
            checkpoint = unless_refused(lambda: load_checkpoint(folder), folder)
            if checkpoint is not None:  # padding in the footer of the index
                assert same_tensors(checkpoint.bilm, PUBLISHED.bilm)


def test_every_change_of_a_weight_is_found(trained: Path) -> None:
    """The data file holds weights, the softmax and Adagrad's slots in turn; what is read is checked."""
    whole = (trained / FILES[-1]).read_bytes()
    found = 0
    for _ in bytes_changed(trained / FILES[-1], 60, seed=1):
        checkpoint = unless_refused(lambda: load_checkpoint(trained), "the CRC-32C of variable")
        if checkpoint is None:
            found += 1
        else:  # in a slot of the optimizer
            assert same_tensors(checkpoint.bilm, TRAINED.bilm)
            assert same_tensors(checkpoint.head, TRAINED.head)
    assert 20 <= found <= 40
    assert (trained / FILES[-1]).read_bytes() == whole


# Models that read whole words


@pytest.fixture
def reads_words() -> Checkpoint:
    """A model that looks words up, its softmax apart from its table."""
    bilm = dataclasses.replace(SMALL, char_cnn=None, word_table=WordTableConfig(words=6, dim=4))
    checkpoint = full_checkpoint(bilm)
    assert checkpoint.vocabulary is not None
    ids = {word: row for row, word in enumerate(checkpoint.vocabulary.words)}
    return dataclasses.replace(checkpoint, input_words=WordTable(ids))


@pytest.mark.parametrize("tied", [False, True])
def test_word_input_and_a_tied_softmax(tied: bool, reads_words: Checkpoint, tmp_path: Path) -> None:
    head = reads_words.head
    assert head is not None
    folder = write_training_folder(tmp_path / "model", reads_words)
    if tied:
        head = {**head, "weight": reads_words.bilm["words.embedding.weight"]}
        arrays = variables_of(reads_words, "training", "lm/")
        write_bundle(folder / "model.ckpt-80", {name: x for name, x in arrays.items() if "softmax/W" not in name})
    loaded = load_checkpoint(folder)
    assert same_tensors(loaded.bilm, reads_words.bilm)
    assert same_tensors(loaded.head, head)
    assert loaded.tied is tied
    assert loaded.config.bilm == reads_words.config.bilm
    assert loaded.input_words == reads_words.input_words
    model, _ = load_language_model(loaded)
    parameters = {id(parameter) for parameter in model.parameters()}
    assert len(parameters) == len(reads_words.bilm) + 2 - tied


def test_word_input_with_special_words_anywhere(reads_words: Checkpoint, tmp_path: Path) -> None:
    """The table keeps its rows, the softmax those of the vocabulary."""
    folder = write_training_folder(tmp_path / "model", reads_words)
    (folder / "vocab.txt").write_text("river\n</S>\n<UNK>\nbank\n<S>\n银行\n", encoding="utf-8")
    loaded = load_checkpoint(folder)
    assert same_tensors(loaded.bilm, reads_words.bilm)
    assert loaded.reader(["<S>", "bank", "other"]).tolist() == [[4], [3], [2]]
    assert loaded.head is not None
    assert reads_words.head is not None
    assert torch.equal(loaded.head["weight"][0], reads_words.head["weight"][4])
    (folder / "vocab.txt").unlink()
    with pytest.raises(FormatError, match="this model reads whole words, and there is no vocabulary of 6 words beside it"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", [*WORD_CASES, FORWARD_CASE])
def test_the_losses_of_bilm_tf(name: str, shared: Path, tmp_path: Path) -> None:
    """Its own variables by its own names as a checkpoint: the losses that its graph gave, on its own batches."""
    case = load_case(name, shared / "golden")
    write_bundle(tmp_path / "model.ckpt-1", {key.removeprefix("var/"): x for key, x in case.arrays.items() if "var/" in key})
    (tmp_path / "options.json").write_text(json.dumps(case.facts["options"]), encoding="utf-8")
    shutil.copy(DATA / "training/vocab.txt", tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.tied is ("shared" in name)
    assert checkpoint.config.bilm.bidirectional is (name != FORWARD_CASE)
    model, vocabulary = load_language_model(checkpoint)
    lexicon = Lexicon(vocabulary, checkpoint.reader)
    sentences = (lexicon.ids(line.split()) for line in read_lines(DATA / "training/train.txt"))
    streams, state = SentenceStreams(sentences, case.facts["options"]["batch_size"], case.facts["options"]["unroll_steps"]), None
    with torch.no_grad():
        for number in range(sum(key.endswith("_total_loss") for key in case.arrays)):
            losses, state = model(lm_batch(next(streams), lexicon.characters, len(vocabulary)), state)
            means = torch.stack([losses_N.mean() for losses_N in losses if len(losses_N)])
            assert means.numpy() == pytest.approx(case.arrays[f"b{number}_losses"], abs=1e-5)
