"""Training is that of bilm-tf: its streams, its sampled softmax, its three Adagrad steps, its held-out perplexity."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from tests.golden.cases import DATA, Case, distance, load_case
from tests.golden.test_loss_cases import TOLERANCE, bilm_of, dataset_name
from torch import Tensor

from elmokit.checkpoints.checkpoint import build_bilm
from elmokit.checkpoints.hdf5 import load_hdf5
from elmokit.checkpoints.layout import bilm_layout
from elmokit.kernels.training_char_cnn import training_convolution
from elmokit.kernels.training_lstm import training_lstm
from elmokit.kernels.training_softmax import training_softmax
from elmokit.lm.language_model import LanguageModel, lm_batch
from elmokit.lm.perplexity import perplexity
from elmokit.model.char_cnn import CharCnn, Convolution
from elmokit.model.lstm import Recurrence, run_lstm
from elmokit.model.softmax import Candidates, SampledLosses, SoftmaxHead, log_expected_count
from elmokit.pretraining.corpus import Corpus, Shard
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.recipes import Recipe
from elmokit.pretraining.spelled_words import SpelledWords
from elmokit.text.files import read_lines
from elmokit.text.lexicon import Lexicon
from elmokit.text.readers import ByteReader, WordReader
from elmokit.text.streams import NOTHING, SentenceStreams, StreamWindow
from elmokit.text.vocabulary import UNK_ID, Vocabulary
from elmokit.training.checkpoints import Checkpoints

Record = Callable[[str, object], None]


def heldout_sentences() -> list[list[str]]:
    return [line.split() for line in read_lines(DATA / "training/heldout.txt")]


def test_batches_of_both_directions() -> None:
    case = load_case("train_data_batches")
    vocabulary = Vocabulary.load(DATA / "training/vocab.txt")
    lexicon = Lexicon(vocabulary, WordReader(ByteReader(case.facts["max_characters_per_token"])))
    sentences = heldout_sentences()
    windows = list(SentenceStreams(map(lexicon.ids, sentences), case.facts["batch_size"], case.facts["unroll_steps"]))
    size = len(vocabulary)
    for number in range(case.facts["n_batches"]):
        for way in ("forward", "backward"):
            suffix = "" if way == "forward" else "_reverse"
            read_BT, asked_BT = (getattr(windows[number], name) for name in (f"{way}_BT", f"{way}_targets_BT"))
            for ours_BT, name in ((read_BT, "token_ids"), (asked_BT, "next_token_id")):
                np.testing.assert_array_equal(np.where(ours_BT < size, ours_BT, UNK_ID), case.arrays[f"b{number}_{name}{suffix}"])
            chars = lexicon.characters(read_BT.ravel()).reshape(*read_BT.shape, -1)
            np.testing.assert_array_equal(chars, case.arrays[f"b{number}_tokens_characters{suffix}"])
    # bilm-tf stops where a row has no text left; ours go on to the end of the text.
    assert all((window.forward_targets_BT == NOTHING).any() for window in windows[case.facts["n_batches"] :])
    targets = sum(int((window.forward_targets_BT != NOTHING).sum()) for window in windows)
    assert targets == sum(len(sentence) + 1 for sentence in sentences)


def as_ours(case: Case, kind: str, model: LanguageModel) -> dict[str, Tensor]:
    """What was recorded of each TensorFlow variable, under our parameters' names and in their layout."""
    datasets = {
        dataset_name(key.removeprefix(f"{kind}/lm/")): case.tensor(key) for key in case.arrays if key.startswith(f"{kind}/lm/")
    }
    found = {"head.weight": datasets.pop("softmax/W"), "head.bias": datasets.pop("softmax/b")}
    for entry in bilm_layout(model.bilm.config):
        tensor = datasets.pop(entry.dataset).reshape(entry.dataset_shape[-3:])
        found[f"bilm.{entry.name}"] = tensor.permute(*reversed(range(tensor.dim()))) if entry.transposed else tensor
    assert not datasets
    assert found.keys() == dict(model.named_parameters()).keys()
    return found


def largest_difference(ours: dict[str, Tensor], recorded: dict[str, Tensor]) -> float:
    """Over all parameters, relative where the recorded tensor has numbers above 1."""
    return max(distance(ours[name], tensor) / max(1.0, float(tensor.abs().max())) for name, tensor in recorded.items())


def trainer_of(case: Case, kernels: "Kernels", folder: Path) -> Pretrainer:
    """The real trainer, reading the recorded windows; an id it reads is the place of a word's characters in a table."""
    options = case.facts["options"]
    bilm = bilm_of(case, folder).train()
    bilm.forward_stack.recurrence = bilm.backward_stack.recurrence = kernels.recurrence
    assert isinstance(bilm.words, CharCnn)
    bilm.words.convolution = kernels.convolution
    head = SoftmaxHead(*case.arrays["var/lm/softmax/W"].shape)
    head.load_state_dict({"weight": case.tensor("var/lm/softmax/W"), "bias": case.tensor("var/lm/softmax/b")})
    keys = [f"b{number}_tokens_characters{suffix}" for number in range(case.facts["n_steps"]) for suffix in ("", "_reverse")]
    chars = np.stack([case.arrays[key] for key in keys])
    table, places = np.unique(chars.reshape(-1, chars.shape[-1]), axis=0, return_inverse=True)
    table = table.astype(np.int16)
    places = places.reshape(chars.shape[:-1])
    nothing = Shard(np.zeros(1, dtype=np.int32), np.array([0, 1]))
    no_words = SpelledWords(np.empty(0, np.uint8), np.zeros(1, np.int64), 50)
    corpus = Corpus(words=no_words, train=nothing, heldout=nothing, facts={})
    recipe = Recipe(
        optimizer="reference",
        learning_rate=options["learning_rate"],
        schedule="constant",
        clip_norm=options["all_clip_norm_val"],
        batch_size=options["batch_size"],
        window=options["unroll_steps"],
        negatives=None,
        dropout=options["dropout"],
    )
    model = LanguageModel(bilm, head)
    trainer = Pretrainer(model, corpus, recipe, seed=0, checkpoints=Checkpoints(folder), word_rows=lambda ids_U: table[ids_U])
    targets = [case.arrays[key.replace("tokens_characters", "next_token_id")].astype(np.int64) for key in keys]
    windows = [StreamWindow(places[i], targets[i], places[i + 1], targets[i + 1]) for i in range(0, len(keys), 2)]
    trainer.streams = iter(windows)  # type: ignore[assignment]  # the recorded windows instead of streams
    return trainer


def check_steps(case: Case, kernels: "Kernels", folder: Path) -> str:
    """Compare the first gradient, then each step's loss and norm, then all weights and accumulators."""
    trainer = trainer_of(case, kernels, folder)
    model, worst = trainer.model, {}
    windows = list(trainer.streams)
    losses, _ = model(lm_batch(windows[0], trainer.word_rows, trainer.vocabulary_size))
    torch.autograd.backward(losses.mean() * trainer.recipe.window)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    worst["gradients"] = largest_difference(gradients, as_ours(case, "grad0", model))
    model.zero_grad()
    trainer.streams = iter(windows)  # type: ignore[assignment]  # the recorded windows instead of streams
    worst["losses"] = worst["norms"] = 0.0
    for number in range(case.facts["n_steps"]):
        step = trainer.step(0.0)
        worst["losses"] = max(worst["losses"], abs(step["loss"] - float(case.arrays[f"b{number}_total_loss"])))
        worst["norms"] = max(worst["norms"], abs(step["gradient_norm"] - float(case.arrays[f"b{number}_grad_norm"])))
    worst["weights"] = largest_difference(
        {name: p.detach() for name, p in model.named_parameters()}, as_ours(case, "after", model)
    )
    sums = {name: trainer.optimizers[0].state[parameter]["sum"] for name, parameter in model.named_parameters()}
    worst["accumulators"] = largest_difference(sums, as_ours(case, "accumulator", model))
    assert max(worst.values()) <= TOLERANCE, worst
    return str(worst)


class Kernels(NamedTuple):
    """What a training step computes with."""

    recurrence: Recurrence
    convolution: Convolution
    sampled_losses: SampledLosses


KERNELS = {
    "model": Kernels(run_lstm, CharCnn.features, SoftmaxHead.sampled_losses),
    "training": Kernels(training_lstm(), training_convolution(), training_softmax()),
}


@pytest.mark.parametrize("kernels", KERNELS)
def test_steps(kernels: str, tmp_path: Path, record_property: Record) -> None:
    record_property("largest difference", check_steps(load_case("train_steps_char"), KERNELS[kernels], tmp_path))


@pytest.mark.parametrize("kernels", KERNELS)
def test_steps_with_clipped_gradients(kernels: str, tmp_path: Path, golden: Path, record_property: Record) -> None:
    case = load_case("train_steps_char_clipped", golden)
    assert float(case.arrays["b0_grad_norm"]) > case.facts["options"]["all_clip_norm_val"]
    record_property("largest difference", check_steps(case, KERNELS[kernels], tmp_path))


@pytest.mark.parametrize("kernels", KERNELS)
def test_sampled_softmax(kernels: str, record_property: Record) -> None:
    case = load_case("sampled_softmax")
    head = SoftmaxHead(*case.arrays["W"].shape)
    head.load_state_dict({"weight": case.tensor("W"), "bias": case.tensor("b")})
    size, ids_S, targets_N = len(case.arrays["b"]), case.tensor("sampled_ids"), case.tensor("labels").squeeze(1)
    assert (targets_N[:, None] == ids_S).any(), "accidental hits are part of the case"
    log_counts = torch.cat([case.tensor("sampled_expected_count"), case.tensor("true_expected_count").squeeze(1)]).log()

    def counts_differ(tries: int) -> float:
        return distance(log_expected_count(torch.cat([ids_S, targets_N]), tries, size), log_counts)

    tries = min(range(len(ids_S), 200), key=counts_differ)  # it was not recorded, but the counts tell it
    h_NP, sampled_losses = case.tensor("inputs"), KERNELS[kernels].sampled_losses
    with torch.no_grad():
        worst = {
            "log counts": counts_differ(tries),
            "sampled": distance(sampled_losses(head, h_NP, targets_N, Candidates(ids_S, tries)), case.tensor("loss")),
            "full": distance(head.losses(h_NP, targets_N), case.tensor("full_softmax_loss")),
        }
    record_property("largest difference", str(worst))
    assert max(worst.values()) <= TOLERANCE, worst


def test_heldout_perplexity(record_property: Record) -> None:
    """bilm-tf's own test at batch size 1 counts as we do: one stream, every target once."""
    case = load_case("checkpoint")
    folder = DATA / "training"
    bilm = build_bilm(load_hdf5(folder / "inference_options.json", folder / "dumped_weights.hdf5"))
    head = SoftmaxHead(*case.arrays["ckpt/lm/softmax/W"].shape)
    head.load_state_dict({"weight": case.tensor("ckpt/lm/softmax/W"), "bias": case.tensor("ckpt/lm/softmax/b")})
    sentences = heldout_sentences()
    score = perplexity(LanguageModel(bilm, head).eval(), Vocabulary.load(folder / "vocab.txt"), sentences)
    record_property("perplexity", score.mean)
    assert score.mean == pytest.approx(case.facts["heldout_perplexity"]["batch_size_1"], rel=TOLERANCE)
    assert score.backward is not None
    assert score.mean == pytest.approx((score.forward * score.backward) ** 0.5)
    assert score.tokens == sum(len(sentence) + 1 for sentence in sentences)
