"""Losses of the language model with the full softmax are those of bilm-tf, window after window."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch
from tests.golden.cases import Case, distance, load_case
from torch import Tensor

from elmokit.checkpoints.checkpoint import build_bilm
from elmokit.checkpoints.hdf5 import load_hdf5
from elmokit.model.bilm import BiLM, StackState
from elmokit.model.softmax import SoftmaxHead

TOLERANCE = 1e-5


def bilm_of(case: Case, folder: Path) -> BiLM:
    """Build the biLM of a recorded training graph, by way of the published layout."""
    (folder / "options.json").write_text(json.dumps(case.facts["options"]), encoding="utf-8")
    with h5py.File(folder / "weights.hdf5", "w") as file:
        for name, array in case.arrays.items():
            if name.startswith("var/lm/") and "softmax" not in name:
                file[dataset_name(name.removeprefix("var/lm/"))] = array
    return build_bilm(load_hdf5(folder / "options.json", folder / "weights.hdf5"))


def dataset_name(variable: str) -> str:
    """The name that bilm-tf's dump_weights gives to a TensorFlow variable."""
    name = re.sub(r"rnn/multi_rnn_cell/cell_(\d+)/lstm_cell", r"RNN/MultiRNNCell/Cell\1/LSTMCell", variable)
    name = name.replace("projection/kernel", "W_P_0")
    return re.sub("kernel$", "W_0", re.sub("LSTMCell/bias$", "LSTMCell/B", name))


def window(bilm: BiLM, head: SoftmaxHead, case: Case, number: int, states: list[StackState | None]) -> tuple[Tensor, float]:
    """Run one window of both directions; gives their losses and the largest difference of any vector; moves the states."""
    losses, worst = [], 0.0
    for i, (stack, suffix) in enumerate([(bilm.forward_stack, ""), (bilm.backward_stack, "_reverse")]):
        chars_BTW = case.tensor(f"b{number}_tokens_characters{suffix}")
        targets_BT = case.tensor(f"b{number}_next_token_id{suffix}").long()
        x_BTP = bilm.words(chars_BTW.flatten(0, 1)).unflatten(0, chars_BTW.shape[:2])
        outputs, states[i] = stack(x_BTP, None, states[i])
        losses.append(head.losses(outputs[-1].flatten(0, 1), targets_BT.flatten()).mean())
        worst = max(worst, distance(outputs[-1], case.tensor(f"b{number}_lstm_out{i}")))
        if i == 0:  # of the word vectors just the forward ones were recorded
            worst = max(worst, distance(x_BTP, case.tensor(f"b{number}_embedding")))
    return torch.stack(losses), worst


@pytest.mark.parametrize("name", ["train_loss_char", "train_loss_char_tanh_noskip"])
def test_training_loss(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    case = load_case(name)
    bilm = bilm_of(case, tmp_path)
    head = SoftmaxHead(*case.arrays["var/lm/softmax/W"].shape)
    head.load_state_dict({"weight": case.tensor("var/lm/softmax/W"), "bias": case.tensor("var/lm/softmax/b")})
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
    assert len(remembered) == 8
    for k, tensor in enumerate(remembered):
        worst_vector = max(worst_vector, distance(tensor, case.tensor(f"final_state{k}")))
    record_property("largest difference", f"losses {worst_loss}, vectors and states {worst_vector}")
    assert worst_loss <= TOLERANCE
    assert worst_vector <= TOLERANCE
