"""The drop-in gives AllenNLP's recorded numbers, state and gradients, through AllenNLP's own calls."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.golden.cases import Case, distance, load_case, parsed

from elmokit.compat.allennlp import Elmo, _ElmoBiLm, _ElmoCharacterEncoder, batch_to_ids

Files = tuple[str, str]
FIXTURE, TINY = 5e-6, 1e-5
GRADIENT = 1e-5
STATEFUL = (
    "fixture_official_sentences",
    "fixture_stateful_batches_of_3",
    "fixture_stateful_changing_batch_size",
    "fixture_stateful_empty_sentences",
    "fixture_zero_then_stateful_same_sentence",
)


def check_bilm(case: Case, files: Files, tolerance: float) -> None:
    """Run the batches one after the other on one module, which carries its state by itself."""
    bilm = _ElmoBiLm(*files).eval()
    for number, sentences in enumerate(case.batches):
        if not case.is_stateful:
            bilm._elmo_lstm.reset_states()
        ids = batch_to_ids(sentences)
        assert np.array_equal(ids, case.arrays[f"b{number}_ids"])
        with torch.no_grad():
            found = bilm(ids)
        assert np.array_equal(found["mask"], case.arrays[f"b{number}_mask"])
        assert distance(torch.stack(found["activations"]), case.tensor(f"b{number}_layers")) <= tolerance
        check_state(case, bilm, number, tolerance)


def check_state(case: Case, bilm: _ElmoBiLm, number: int, tolerance: float) -> None:
    """Compare what is carried on, where it was recorded (and not as a view that the next batch overwrote)."""
    assert bilm._elmo_lstm._states is not None
    for name, state in zip("hc", bilm._elmo_lstm._states, strict=True):
        this, later = f"b{number}_state_{name}", f"b{number + 1}_state_{name}"
        if this in case.arrays and not np.array_equal(case.arrays[this], case.arrays.get(later, np.zeros(0))):
            assert distance(state, case.tensor(this)) <= tolerance


def test_tiny_stateful(tiny_files: Files) -> None:
    check_bilm(load_case("tiny_stateful"), tiny_files, TINY)


@pytest.mark.parametrize("name", ["fixture_batched_zero_state", *STATEFUL])
def test_bilm(name: str, shared: Path, fixture_files: Files) -> None:
    check_bilm(load_case(name, shared / "golden"), fixture_files, FIXTURE)


def test_a_forgotten_state_would_be_noticed(tiny_files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    case = load_case("tiny_stateful")
    monkeypatch.setattr("elmokit.compat.allennlp.lstm.ElmoLstm._remember", lambda self, after: self.reset_states())
    with pytest.raises(AssertionError):
        check_bilm(case, tiny_files, TINY)


def check_elmo(case: Case, files: Files) -> None:
    call = case.facts["call"]
    elmo = Elmo(
        *files,
        call["num_output_representations"],
        do_layer_norm=call["do_layer_norm"],
        keep_sentence_boundaries=call["keep_sentence_boundaries"],
        scalar_mix_parameters=call["scalar_mix_parameters"],
    ).eval()
    values = {}
    for number, mix in enumerate(call["set_after_construction"] or []):
        values[f"scalar_mix_{number}.gamma"] = torch.tensor([mix["gamma"]])
        for j, weight in enumerate(mix["scalar_parameters"]):
            values[f"scalar_mix_{number}.scalar_parameters.{j}"] = torch.tensor([weight])
    elmo.load_state_dict(elmo.state_dict() | values)
    for number, sentences in enumerate(case.batches):
        with torch.no_grad():
            found = elmo(batch_to_ids(sentences))
        assert np.array_equal(found["mask"], case.arrays[f"b{number}_mask"])
        for i, representation in enumerate(found["elmo_representations"]):
            assert distance(representation, case.tensor(f"b{number}_rep{i}")) <= FIXTURE


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("norm", [0, 1])
def test_tiny_elmo(norm: int, keep: int, tiny_files: Files) -> None:
    check_elmo(load_case(f"tiny_elmo_ln{norm}_keep{keep}"), tiny_files)


@pytest.mark.parametrize("mix", ["default", "given", "set"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("norm", [0, 1])
def test_elmo(norm: int, keep: int, mix: str, shared: Path, fixture_files: Files) -> None:
    check_elmo(load_case(f"elmo_ln{norm}_keep{keep}_{mix}", shared / "golden"), fixture_files)


def check_gradients(case: Case, files: Files) -> None:
    elmo = Elmo(*files, 1, requires_grad=True, dropout=0.0)
    ids = batch_to_ids(case.batches[0])
    assert np.array_equal(ids, case.arrays["ids"])
    torch.autograd.backward((elmo(ids)["elmo_representations"][0] * case.tensor("upstream")).sum())
    gradients = {name: parameter.grad for name, parameter in elmo.named_parameters()}
    recorded = {name.removeprefix("grad/"): case.tensor(name) for name in case.arrays if name.startswith("grad/")}
    assert gradients.keys() == recorded.keys()
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert distance(gradient, recorded[name]) <= GRADIENT * max(1.0, float(recorded[name].abs().max())), name


def test_tiny_gradients(tiny_files: Files) -> None:
    check_gradients(load_case("tiny_gradients"), tiny_files)


def test_gradients(shared: Path, fixture_files: Files) -> None:
    check_gradients(load_case("elmo_finetune_gradients", shared / "golden"), fixture_files)


def test_more_axes(shared: Path, fixture_files: Files) -> None:
    case = load_case("elmo_4d_input", shared / "golden")
    with torch.no_grad():
        found = Elmo(*fixture_files, 1).eval()(case.tensor("ids").long())
    assert np.array_equal(found["mask"], case.arrays["mask"])
    assert distance(found["elmo_representations"][0], case.tensor("rep0")) <= FIXTURE


def test_vocab_to_cache(shared: Path, fixture_files: Files) -> None:
    case = load_case("elmo_vocab_to_cache", shared / "golden")
    elmo = Elmo(*fixture_files, 1, vocab_to_cache=parsed(case.facts["vocab_to_cache"])).eval()
    state = elmo.state_dict()
    assert distance(state["_elmo_lstm._word_embedding.weight"], case.tensor("word_embedding")) <= FIXTURE
    assert distance(elmo._elmo_lstm._bos_embedding, case.tensor("bos_embedding")) <= FIXTURE
    assert distance(elmo._elmo_lstm._eos_embedding, case.tensor("eos_embedding")) <= FIXTURE
    for number in range(2):
        ids, word_ids = case.tensor(f"b{number}_ids").long(), case.tensor(f"b{number}_word_ids").long()
        with torch.no_grad():
            found = elmo(torch.zeros_like(ids), word_ids)  # with all words cached the characters are not looked at
        assert np.array_equal(found["mask"], case.arrays[f"b{number}_mask"])
        assert distance(found["elmo_representations"][0], case.tensor(f"b{number}_rep0")) <= FIXTURE


def test_a_word_out_of_the_cache_is_read_by_its_characters(tiny_files: Files) -> None:
    words = ["The", "bank", "zebra"]
    ids = batch_to_ids([words])
    with torch.no_grad():
        cached = Elmo(*tiny_files, 1, vocab_to_cache=["", "The", "bank"]).eval()(ids, torch.tensor([[1, 2, 3]]))
        plain = Elmo(*tiny_files, 1).eval()(ids)
    assert torch.equal(cached["elmo_representations"][0], plain["elmo_representations"][0])


def test_token_encoder(shared: Path, fixture_files: Files) -> None:
    case = load_case("fixture_token_encoder", shared / "golden")
    encoder = _ElmoCharacterEncoder(*fixture_files)
    with torch.no_grad():
        found = encoder(batch_to_ids([case.facts["tokens"]]))
    recorded = torch.cat([case.tensor("bos")[None], case.tensor("embedding"), case.tensor("eos")[None]])
    assert distance(found["token_embedding"][0], recorded) <= FIXTURE
    assert found["mask"].all()


def test_masked_words_are_read_as_zero_vectors(tiny_files: Files) -> None:
    encoder = _ElmoCharacterEncoder(*tiny_files)
    ids = batch_to_ids([["a", "long", "row"], ["short"]])
    with torch.no_grad():
        x_BTP = encoder(ids)["token_embedding"]
        zeros_EW = torch.zeros(encoder._char_embedding_weights.shape[1], ids.shape[-1])
        convolutions = [module for name, module in encoder.named_children() if name.startswith("char_conv")]
        x_F = torch.cat([torch.relu(convolution(zeros_EW).amax(-1)) for convolution in convolutions])
        expected_P = encoder._projection(encoder._highways(x_F))
    assert torch.allclose(x_BTP[1, 3:], expected_P.expand(2, -1), atol=1e-6)
    assert not torch.allclose(x_BTP[0, 3:], expected_P.expand(2, -1), atol=1e-3)
