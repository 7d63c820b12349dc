"""Losses of the language model with the full softmax are those of bilm-tf, window after window."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch
from safetensors.torch import load_file
from tests.golden.cases import DATA, Case, distance, load_case
from torch import Tensor

from elmokit.checkpoints.checkpoint import Checkpoint, build_bilm
from elmokit.checkpoints.folder import load_folder, save_folder
from elmokit.checkpoints.hdf5 import load_hdf5
from elmokit.lm.language_model import lm_batch
from elmokit.lm.load import load_language_model
from elmokit.model.bilm import BiLM, StackState
from elmokit.model.softmax import SoftmaxHead
from elmokit.text.files import read_lines
from elmokit.text.lexicon import Lexicon
from elmokit.text.streams import SentenceStreams
from elmokit.text.vocabulary import Vocabulary

TOLERANCE = 1e-5
WORD_CASES = ["train_loss_word", "train_loss_word_shared_softmax"]
FORWARD_CASE = "train_loss_word_forward_only"
Record = Callable[[str, object], None]


def checkpoint_of(case: Case, folder: Path) -> Checkpoint:
    """Read the biLM of a recorded training graph, by way of the published layout."""
    shutil.copy(DATA / "training/vocab.txt", folder)  # what reads whole words needs their list
    (folder / "options.json").write_text(json.dumps(case.facts["options"]), encoding="utf-8")
    with h5py.File(folder / "weights.hdf5", "w") as file:
        for name, array in case.arrays.items():
            if name.startswith("var/lm/") and "softmax" not in name:
                file[dataset_name(name.removeprefix("var/lm/"))] = array
    return load_hdf5(folder / "options.json", folder / "weights.hdf5")


def bilm_of(case: Case, folder: Path) -> BiLM:
    """Build that biLM."""
    return build_bilm(checkpoint_of(case, folder))


def dataset_name(variable: str) -> str:
    """The name that bilm-tf's dump_weights gives to a TensorFlow variable; a direction that is the only one has no number."""
    variable = re.sub(r"^rnn/", "RNN_0/rnn/", variable)
    name = re.sub(r"rnn/multi_rnn_cell/cell_(\d+)/lstm_cell", r"RNN/MultiRNNCell/Cell\1/LSTMCell", variable)
    name = name.replace("projection/kernel", "W_P_0")
    return re.sub("kernel$", "W_0", re.sub("LSTMCell/bias$", "LSTMCell/B", name))


def window(bilm: BiLM, head: SoftmaxHead, case: Case, number: int, states: list[StackState | None]) -> tuple[Tensor, float]:
    """Run one window of all directions; gives their losses and the largest difference of any vector; moves the states."""
    losses, worst = [], 0.0
    for i, (stack, suffix) in enumerate(zip(bilm.stacks, ("", "_reverse"), strict=False)):
        read = f"b{number}_tokens_characters{suffix}"
        chars_BTW = case.tensor(read) if read in case.arrays else case.tensor(f"b{number}_token_ids{suffix}")[..., None]
        targets_BT = case.tensor(f"b{number}_next_token_id{suffix}").long()
        x_BTP = bilm.words(chars_BTW.flatten(0, 1)).unflatten(0, chars_BTW.shape[:2])
        outputs, states[i] = stack(x_BTP, None, states[i])
        losses.append(head.losses(outputs[-1].flatten(0, 1), targets_BT.flatten()).mean())
        worst = max(worst, distance(outputs[-1], case.tensor(f"b{number}_lstm_out{i}")))
        if i == 0:  # of the word vectors just the forward ones were recorded
            worst = max(worst, distance(x_BTP, case.tensor(f"b{number}_embedding")))
    return torch.stack(losses), worst


def check_losses(case: Case, folder: Path) -> str:
    """Compare losses, vectors and the last states, the state carried from window to window."""
    bilm = bilm_of(case, folder)
    tied = "var/lm/softmax/W" not in case.arrays
    weight = case.tensor("var/lm/embedding" if tied else "var/lm/softmax/W")
    head = SoftmaxHead(*weight.shape)
    head.load_state_dict({"weight": weight, "bias": case.tensor("var/lm/softmax/b")})
    states: list[StackState | None] = [None, None]
    batches = sum(key.endswith("_total_loss") for key in case.arrays)
    assert batches > 2
    worst_loss = worst_vector = 0.0
    for number in range(batches):
        with torch.no_grad():
            losses, vector = window(bilm, head, case, number, states)
        both = distance(losses, case.tensor(f"b{number}_losses"))
        total = distance(losses.mean(), case.tensor(f"b{number}_total_loss"))
        worst_loss, worst_vector = max(worst_loss, both, total), max(worst_vector, vector)
    remembered = [tensor for state in states if state for layer in state for tensor in (layer.c_BH, layer.h_BP)]
    assert len(remembered) == 4 * len(case.arrays["b0_losses"])
    for k, tensor in enumerate(remembered):
        worst_vector = max(worst_vector, distance(tensor, case.tensor(f"final_state{k}")))
    assert worst_loss <= TOLERANCE
    assert worst_vector <= TOLERANCE
    return f"losses {worst_loss}, vectors and states {worst_vector}"


@pytest.mark.parametrize("name", ["train_loss_char", "train_loss_char_tanh_noskip"])
def test_training_loss(name: str, tmp_path: Path, record_property: Record) -> None:
    record_property("largest difference", check_losses(load_case(name), tmp_path))


@pytest.mark.parametrize("name", [*WORD_CASES, FORWARD_CASE])
def test_training_loss_of_whole_words(name: str, tmp_path: Path, golden: Path, record_property: Record) -> None:
    record_property("largest difference", check_losses(load_case(name, golden), tmp_path))


@pytest.mark.parametrize("name", [*WORD_CASES, FORWARD_CASE])
def test_the_language_model_of_whole_words(name: str, tmp_path: Path, golden: Path, record_property: Record) -> None:
    """The same losses from a model folder and the recorded text, by our own streams; the softmax is tied in one of them."""
    case, vocabulary = load_case(name, golden), Vocabulary.load(DATA / "training/vocab.txt")
    checkpoint = checkpoint_of(case, tmp_path)
    weight = case.arrays.get("var/lm/softmax/W", case.arrays["var/lm/embedding"])
    head = {"weight": torch.from_numpy(weight), "bias": case.tensor("var/lm/softmax/b")}
    save_folder(dataclasses.replace(checkpoint, head=head, vocabulary=vocabulary), tmp_path / "model")
    checkpoint = load_folder(tmp_path / "model")
    assert checkpoint.tied == (name == "train_loss_word_shared_softmax")
    stored = load_file(tmp_path / "model/lm_head.safetensors")
    assert ("weight" in stored) != checkpoint.tied
    model, _ = load_language_model(checkpoint)
    lexicon = Lexicon(vocabulary, checkpoint.reader)
    sentences = (lexicon.ids(line.split()) for line in read_lines(DATA / "training/train.txt"))
    options = case.facts["options"]
    streams, state, worst = SentenceStreams(sentences, options["batch_size"], options["unroll_steps"]), None, 0.0
    both = options["bidirectional"]
    with torch.no_grad():
        for number in range(sum(key.endswith("_total_loss") for key in case.arrays)):
            batch = lm_batch(next(streams), lexicon.characters, len(vocabulary), bidirectional=both)
            losses, state = model(batch, state)
            means = torch.stack([losses_N.mean() for losses_N in (losses if both else losses[:1])])
            worst = max(worst, distance(means, case.tensor(f"b{number}_losses")))
            worst = max(worst, distance(losses.mean(), case.tensor(f"b{number}_total_loss")))
    assert state is not None
    remembered = [tensor for stack in state for layer in stack for tensor in (layer.c_BH, layer.h_BP)]
    assert len(remembered) == sum(key.startswith("final_state") for key in case.arrays)
    worst = max(worst, *(distance(tensor, case.tensor(f"final_state{k}")) for k, tensor in enumerate(remembered)))
    record_property("largest difference", worst)
    assert worst <= TOLERANCE
