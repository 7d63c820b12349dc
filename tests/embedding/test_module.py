"""`ElmoEmbedding` in a torch model."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.golden.cases import load_case
from torch import Tensor, nn
from torch.utils.data import DataLoader

from elmokit.checkpoints.checkpoint import LayerMix
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.module import ElmoEmbedding, ElmoOutput
from elmokit.model.scalar_mix import ScalarMix
from elmokit.text.batch import WordBatch

SENTENCES = [["the", "river", "bank"], ["bank"], [], ["a", "longer", "one", "here"]]
SHA = "elmo_sha256"


@pytest.fixture
def own(elmo: Elmo) -> Elmo:
    """A model that a test may change."""
    return copy.deepcopy(elmo)


def mix_of(embedding: ElmoEmbedding) -> ScalarMix:
    """Its first mix."""
    mix = embedding.mixes[0]
    assert isinstance(mix, ScalarMix)
    return mix


def test_untrained_and_without_dropout_it_is_the_mean_of_all_layers(elmo: Elmo) -> None:
    embedding = ElmoEmbedding(elmo, num_mixes=2, dropout=0.0)
    output = embedding(SENTENCES)
    assert isinstance(output, ElmoOutput)
    assert output.mask_BT.tolist() == [[n < len(words) for n in range(4)] for words in SENTENCES]
    for mix in output.mixes:
        assert mix.shape == (4, 4, embedding.dim)
        for row, vectors in zip(mix.detach().numpy(), elmo.encode_tokens(SENTENCES), strict=True):
            np.testing.assert_allclose(row[: len(vectors)], vectors, atol=5e-5)
            assert not row[len(vectors) :].any()


@pytest.mark.parametrize("norm", [0, 1])
def test_it_is_the_reference_module(elmo: Elmo, norm: int) -> None:
    case = load_case(f"tiny_elmo_ln{norm}_keep0")
    embedding = ElmoEmbedding(elmo, num_mixes=2, layer_norm=bool(norm)).eval()
    for mix, values in zip(embedding.mixes, case.facts["call"]["set_after_construction"], strict=True):
        mix.load_state_dict({"weights": torch.tensor(values["scalar_parameters"]), "gamma": torch.tensor(values["gamma"])})
    output = embedding(case.batches[0])  # what follows it was recorded with a carried state
    assert torch.equal(output.mask_BT, case.tensor("b0_mask"))
    for number, mix in enumerate(output.mixes):
        torch.testing.assert_close(mix, case.tensor(f"b0_rep{number}"), atol=1e-5, rtol=0)


def test_batches_texts_and_sentences_are_the_same(elmo: Elmo) -> None:
    embedding = ElmoEmbedding(elmo).eval()
    by_words = embedding(SENTENCES)
    for given in (elmo.collate(SENTENCES), [" ".join(words) for words in SENTENCES]):
        assert torch.equal(embedding(given).mixes[0], by_words.mixes[0])
    assert embedding([]).mixes[0].shape == (0, 0, 16)
    with pytest.raises(ValueError, match="inputs"):
        embedding([["a"], None])


def test_dropout_acts_in_training_alone(elmo: Elmo) -> None:
    embedding = ElmoEmbedding(elmo, dropout=0.5)
    torch.manual_seed(0)
    dropped = embedding(SENTENCES).mixes[0]
    kept = embedding.eval()(SENTENCES).mixes[0]
    tokens = kept[embedding(SENTENCES).mask_BT]
    zeros = (dropped == 0).sum() - (kept == 0).sum()
    assert 0.3 < zeros / tokens.numel() < 0.7
    torch.testing.assert_close(dropped[dropped != 0], 2 * kept[dropped != 0])


def test_frozen_only_the_mixes_learn_and_are_saved(own: Elmo) -> None:
    embedding = ElmoEmbedding(own, num_mixes=2)
    assert set(embedding.state_dict()) == {SHA, "mixes.0.weights", "mixes.0.gamma", "mixes.1.weights", "mixes.1.gamma"}
    assert sum(parameter.numel() for parameter in embedding.parameters()) == 2 * (3 + 1)
    embedding.train()
    assert not own.bilm.training
    (embedding(SENTENCES).mixes[0] * torch.randn(4, 4, 16)).sum().backward()
    assert all(parameter.grad is None for parameter in own.bilm.parameters())
    gradient = mix_of(embedding).weights.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_trainable_the_bilm_learns_and_is_saved(own: Elmo) -> None:
    embedding = ElmoEmbedding(own, trainable=True, dropout=0.0)
    names = {f"bilm.{name}" for name in own.bilm.state_dict()}
    assert set(embedding.state_dict()) == names | {"mixes.0.weights", "mixes.0.gamma"}
    before = own.encode(["the river bank"])
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    (embedding(SENTENCES).mixes[0] * torch.randn(4, 4, 16)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in own.bilm.named_parameters()}
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients.values())
    optimizer.step()
    assert abs(own.encode(["the river bank"]) - before).max() > 1e-3  # nothing remembers the old weights
    with torch.no_grad():
        assert not embedding(SENTENCES).mixes[0].requires_grad


def test_mixes_return_to_their_own_model(elmo: Elmo) -> None:
    saved = ElmoEmbedding(elmo, num_mixes=1)
    nn.init.normal_(mix_of(saved).weights)
    again = ElmoEmbedding(elmo)
    again.load_state_dict(saved.state_dict())
    assert torch.equal(mix_of(again).weights, mix_of(saved).weights)


def test_mixes_of_another_model_are_refused(elmo: Elmo, own: Elmo) -> None:
    saved = nn.Sequential(ElmoEmbedding(elmo)).state_dict()
    with torch.no_grad():
        next(own.bilm.parameters())[3] += 1e-3
    other = nn.Sequential(ElmoEmbedding(own))
    sha = other.state_dict()[f"0.{SHA}"].clone()
    with pytest.raises(
        RuntimeError, match=r"0\.elmo_sha256: these mixes belong to a model with SHA-256 [0-9a-f]{16}…, this one has"
    ):
        other.load_state_dict(saved)
    assert torch.equal(other.state_dict()[f"0.{SHA}"], sha)


def test_the_sha_is_that_of_the_weights_and_sizes(elmo: Elmo, own: Elmo, tmp_path: Path) -> None:
    own.save_pretrained(tmp_path / "model")
    again = Elmo.from_pretrained(tmp_path / "model", device="cpu")
    assert torch.equal(ElmoEmbedding(again).state_dict()[SHA], ElmoEmbedding(elmo).state_dict()[SHA])


def test_the_frozen_bilm_follows(own: Elmo) -> None:
    model = nn.Sequential(ElmoEmbedding(own)).double()
    assert next(own.bilm.words.parameters()).dtype == torch.float64
    assert model(SENTENCES).mixes[0].dtype == torch.float64
    model.to("meta")
    assert own.device.type == "meta"


@pytest.mark.parametrize(
    ("options", "message"), [({"num_mixes": 0}, "num_mixes must be 1 or more"), ({"dropout": 1.0}, "dropout must be")]
)
def test_options_that_mean_nothing(elmo: Elmo, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ElmoEmbedding(elmo, **options)


def test_a_name_is_no_model() -> None:
    with pytest.raises(ValueError, match=r"elmo is str, .*: ElmoEmbedding\(Elmo\.from_pretrained\('en-small'\)\)"):
        ElmoEmbedding("en-small")  # type: ignore[arg-type]  # the mistake in question


def test_workers_of_a_data_loader_make_the_batches(elmo: Elmo) -> None:
    loader: DataLoader[Any] = DataLoader(
        SENTENCES,  # type: ignore[arg-type]  # a list will do
        batch_size=2,
        num_workers=2,
        collate_fn=elmo.collate,
        multiprocessing_context="spawn",
    )
    embedding = ElmoEmbedding(elmo).eval()
    batches: list[WordBatch] = list(loader)
    assert all(isinstance(batch, WordBatch) for batch in batches)
    mixes: list[Tensor] = [embedding(batch).mixes[0] for batch in batches]
    for number, mix in enumerate(mixes):
        torch.testing.assert_close(mix, embedding(SENTENCES[2 * number : 2 * number + 2]).mixes[0])


def test_a_tagger_learns(elmo: Elmo) -> None:
    torch.manual_seed(0)
    sentences, tags = [["a", "b", "a"], ["b"], ["b", "a"]], torch.tensor([[0, 1, 0], [1, 2, 2], [1, 0, 2]])
    tagger = nn.ModuleDict({"elmo": ElmoEmbedding(elmo, dropout=0.0), "out": nn.Linear(elmo.dim, 2)})
    optimizer = torch.optim.Adam(tagger.parameters(), lr=0.05)
    for _ in range(60):
        output = tagger["elmo"](sentences)
        loss = nn.functional.cross_entropy(tagger["out"](output.mixes[0])[output.mask_BT], tags[output.mask_BT])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert loss < 0.05


@pytest.mark.parametrize("norm", [0, 1])
def test_it_begins_with_the_mixes_that_came_with_a_model(own: Elmo, norm: int) -> None:
    case = load_case(f"tiny_elmo_ln{norm}_keep0")
    settings = case.facts["call"]["set_after_construction"]
    mixes = tuple(LayerMix(tuple(mix["scalar_parameters"]), mix["gamma"], bool(norm)) for mix in settings)
    own.checkpoint = dataclasses.replace(own.checkpoint, mixes=mixes)
    embedding = ElmoEmbedding.with_mixes_of(own, trainable=True).eval()
    output = embedding(case.batches[0])
    for i, mix_BTD in enumerate(output.mixes):
        np.testing.assert_allclose(mix_BTD.detach().numpy(), case.arrays[f"b0_rep{i}"], atol=1e-4)
    assert all(parameter.requires_grad for parameter in embedding.parameters())


def test_no_mixes_came_with_a_model(elmo: Elmo) -> None:
    with pytest.raises(ValueError, match="no mixes came with this model"):
        ElmoEmbedding.with_mixes_of(elmo)


@pytest.mark.parametrize("trainable", [False, True])
def test_over_a_model_that_reads_forward_alone(forward_elmo: Elmo, trainable: bool) -> None:
    embedding = ElmoEmbedding(copy.deepcopy(forward_elmo), dropout=0.0, trainable=trainable)
    mix = embedding(SENTENCES).mixes[0]
    assert mix.shape == (4, 4, embedding.dim) == (4, 4, 8)
    for row, vectors in zip(mix.detach().numpy(), forward_elmo.encode_tokens(SENTENCES), strict=True):
        np.testing.assert_allclose(row[: len(vectors)], vectors, atol=5e-5)
    mix.sum().backward()
    learns = [parameter.grad is not None for parameter in embedding.parameters()]
    assert all(learns)
    assert len(learns) == (2 + len(list(forward_elmo.bilm.parameters())) if trainable else 2)
