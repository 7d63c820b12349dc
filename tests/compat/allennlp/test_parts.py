"""The smaller pieces: boundaries, characters, highway, mix and the LSTM by itself."""

import copy
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.checkpoints.small_models import change_json

from elmokit.compat.allennlp import (
    Elmo,
    ELMoCharacterMapper,
    ElmoLstm,
    ELMoTokenCharactersIndexer,
    ElmoTokenEmbedder,
    Highway,
    LstmCellWithProjection,
    ScalarMix,
    _ElmoBiLm,
    _ElmoCharacterEncoder,
    add_sentence_boundary_token_ids,
    batch_to_ids,
    remove_sentence_boundaries,
)

Files = tuple[str, str]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_boundaries_are_added_and_removed(lengths: list[int]) -> None:
    longest = max(lengths)
    mask_BT = torch.arange(longest) < torch.tensor(lengths)[:, None]
    tensor_BTD = torch.rand(len(lengths), longest, 3) * mask_BT[..., None] + mask_BT[..., None]
    begin, end = torch.full((3,), 7.0), torch.full((3,), 9.0)
    longer, longer_mask = add_sentence_boundary_token_ids(tensor_BTD, mask_BT, begin, end)
    assert longer_mask.sum(1).tolist() == [length + 2 for length in lengths]
    for row, length in enumerate(lengths):
        assert longer[row, 0].eq(7).all()
        assert longer[row, length + 1].eq(9).all()
        assert longer[row, length + 2 :].eq(0).all()
    back, back_mask = remove_sentence_boundaries(longer, longer_mask)
    assert torch.equal(back, tensor_BTD)
    assert torch.equal(back_mask, mask_BT)


def test_boundaries_of_word_ids() -> None:
    ids, mask = add_sentence_boundary_token_ids(torch.tensor([[5, 6], [7, 0]]), torch.tensor([[True, True], [True, False]]), 1, 2)
    assert ids.tolist() == [[1, 5, 6, 2], [1, 7, 2, 0]]
    assert mask.tolist() == [[True] * 4, [True, True, True, False]]
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        add_sentence_boundary_token_ids(torch.zeros(2), torch.zeros(2), 1, 2)


def test_the_indexer_has_the_ids_of_batch_to_ids() -> None:
    words = ["naïve", "<S>", "", "x" * 60]
    indexer = ELMoTokenCharactersIndexer()
    found = indexer.tokens_to_indices(words)
    assert torch.equal(torch.tensor(found["elmo_tokens"]), batch_to_ids([words])[0])
    padded = indexer.as_padded_tensor_dict(found, {"elmo_tokens": 6})["elmo_tokens"]
    assert padded.shape == (6, 50)
    assert torch.equal(padded[:4], batch_to_ids([words])[0])
    assert padded[4:].eq(0).all()
    assert indexer.as_padded_tensor_dict(indexer.get_empty_token_list(), {"elmo_tokens": 0})["elmo_tokens"].shape == (0, 50)
    with pytest.raises(ValueError, match="3 has none"):
        indexer.tokens_to_indices([3])


def test_tokens_to_add_get_an_id_of_their_own() -> None:
    indexer = ELMoTokenCharactersIndexer(tokens_to_add={"<doc>": 1})
    assert indexer.tokens_to_indices(["<doc>"])["elmo_tokens"][0][:4] == [259, 2, 260, 261]
    assert ELMoCharacterMapper().convert_word_to_char_ids("<doc>")[:3] == [259, ord("<") + 1, ord("d") + 1]


def test_a_sentence_that_is_a_string() -> None:
    with pytest.raises(ValueError, match=r"sentence 1 is a string, expected a list of words: 'First sentence \.'\.split\(\)"):
        batch_to_ids([["First"], "First sentence ."])  # type: ignore[list-item]  # a mistake on purpose


def test_no_sentences_at_all() -> None:
    assert batch_to_ids([]).shape == (0, 0, 50)
    assert batch_to_ids([[]]).shape == (1, 0, 50)


def test_highway() -> None:
    torch.manual_seed(0)
    highway, x = Highway(3, num_layers=2, activation=torch.tanh), torch.randn(2, 3)
    assert list(highway.state_dict()) == [f"_layers.{k}.{kind}" for k in range(2) for kind in ("weight", "bias")]
    y = x
    state = highway.state_dict()
    for k in range(2):
        projected = y @ state[f"_layers.{k}.weight"].T + state[f"_layers.{k}.bias"]
        gate = 1 / (1 + torch.exp(-projected[:, 3:]))
        y = gate * y + (1 - gate) * torch.tanh(projected[:, :3])
    assert torch.allclose(highway(x), y, atol=1e-6)


def test_scalar_mix() -> None:
    ScalarMix(2, initial_scalar_parameters=[0, 1])([torch.zeros(1, 2, 3)] * 2)  # whole numbers, as old code has them
    mix = ScalarMix(2, initial_scalar_parameters=[0.0, math.log(3)], trainable=False)
    mixed = mix([torch.zeros(1, 2, 3), torch.ones(1, 2, 3)])
    assert torch.allclose(mixed, torch.full((1, 2, 3), 0.75))
    assert not any(parameter.requires_grad for parameter in mix.parameters())
    with pytest.raises(ValueError, match="to mix 2"):
        mix([torch.zeros(1, 2, 3)])
    with pytest.raises(ValueError, match="initial_scalar_parameters must be 2 numbers, not 3"):
        ScalarMix(2, initial_scalar_parameters=[0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="mask"):
        ScalarMix(2, do_layer_norm=True)([torch.zeros(1, 2, 3)] * 2)


@pytest.mark.parametrize("go_forward", [True, False])
def test_one_cell_against_its_equations(go_forward: bool) -> None:
    torch.manual_seed(1)
    cell = LstmCellWithProjection(5, 3, 4, go_forward, memory_cell_clip_value=0.3, state_projection_clip_value=0.1)
    x_BTD, lengths = torch.randn(2, 6, 5), [6, 4]
    y_BTP, (h, c) = cell(x_BTD, lengths)
    assert y_BTP.shape == (2, 6, 3)
    assert y_BTP[1, 4:].eq(0).all()
    for row, length in enumerate(lengths):
        steps = range(length) if go_forward else reversed(range(length))
        h_P, c_H = torch.zeros(3), torch.zeros(4)
        for t in steps:
            gates = cell.input_linearity(x_BTD[row, t]) + cell.state_linearity(h_P)
            i, f, g, o = gates.chunk(4)
            c_H = (torch.sigmoid(i) * torch.tanh(g) + torch.sigmoid(f) * c_H).clamp(-0.3, 0.3)
            h_P = cell.state_projection(torch.sigmoid(o) * torch.tanh(c_H)).clamp(-0.1, 0.1)
            assert torch.allclose(y_BTP[row, t], h_P, atol=1e-6)
        assert torch.allclose(h[0, row], h_P, atol=1e-6)
        assert torch.allclose(c[0, row], c_H, atol=1e-6)


def test_a_cell_goes_on_from_its_state() -> None:
    cell, x_BTD = LstmCellWithProjection(2, 3, 4), torch.randn(1, 5, 2)
    whole, after = cell(x_BTD, [5])
    first, state = cell(x_BTD[:, :2], [2])
    second, after_both = cell(x_BTD[:, 2:], [3], state)
    assert torch.allclose(torch.cat([first, second], 1), whole, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(after, after_both, strict=True))


def test_new_cells_have_allennlps_initial_values() -> None:
    cell = LstmCellWithProjection(4, 4, 4)
    assert cell.state_linearity.bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    gate = cell.input_linearity.weight[4:8]
    assert torch.allclose(gate @ gate.T, torch.eye(4), atol=1e-5)


def test_the_lstm_by_itself() -> None:
    """Layer 2 adds its input; an input of another width than the output is fine; rows without words stay."""
    torch.manual_seed(2)
    lstm = ElmoLstm(6, 3, 4, num_layers=2, memory_cell_clip_value=3.0, state_projection_clip_value=3.0)
    x_BTD, mask_BT = torch.randn(3, 4, 6), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    y_LBTD = lstm(x_BTD, mask_BT)
    assert y_LBTD.shape == (2, 3, 4, 6)
    lower, _ = lstm.forward_layers[0](x_BTD, [4, 2, 0])
    upper, _ = lstm.forward_layers[1](lower, [4, 2, 0])
    assert torch.allclose(y_LBTD[0, ..., :3], lower, atol=1e-6)
    assert torch.allclose(y_LBTD[1, ..., :3], lower + upper, atol=1e-6)
    assert y_LBTD[:, 1, 2:].eq(0).all()
    assert lstm._states is not None
    assert lstm._states[0].shape == (2, 3, 6)
    assert lstm._states[0][:, 2].eq(0).all()


def test_some_rows_forget() -> None:
    lstm = ElmoLstm(3, 3, 4, num_layers=1)
    x_BTD, mask_BT = torch.randn(2, 4, 3), torch.ones(2, 4, dtype=torch.bool)
    first = lstm(x_BTD, mask_BT)
    lstm.reset_states(torch.tensor([True, False]))
    second = lstm(x_BTD, mask_BT)
    assert torch.equal(second[:, 0], first[:, 0])
    assert not torch.allclose(second[:, 1], first[:, 1])
    lstm.reset_states()
    assert torch.equal(lstm(x_BTD, mask_BT), first)


def test_recurrent_dropout_is_declined() -> None:
    with pytest.raises(ValueError, match="recurrent_dropout_probability must be 0, not 0.1"):
        ElmoLstm(3, 3, 4, 1, recurrent_dropout_probability=0.1)


def test_several_threads_may_encode_words(tiny_files: Files) -> None:
    encoder = _ElmoCharacterEncoder(*tiny_files)
    ids = [batch_to_ids([[f"word{number}", "bank"]]) for number in range(8)]
    with torch.no_grad():
        expected = [encoder(one)["token_embedding"] for one in ids]

    def encode(number: int) -> bool:
        with torch.no_grad():
            return torch.equal(encoder(ids[number % 8])["token_embedding"], expected[number % 8])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(encode, range(200)))


def test_a_given_module_is_used(tiny_files: Files) -> None:
    module = _ElmoBiLm(*tiny_files)
    ids = batch_to_ids([["river", "bank"]])
    with torch.no_grad():
        given_module = Elmo(None, None, 1, module=module).eval()(ids)["elmo_representations"][0]
        from_files = Elmo(*tiny_files, 1).eval()(ids)["elmo_representations"][0]
    assert torch.equal(given_module, from_files)
    with pytest.raises(ValueError, match="Don't provide"):
        Elmo(*tiny_files, 1, module=module)
    with pytest.raises(ValueError, match="options_file and weight_file"):
        Elmo(None, None, 1)
    chosen = Elmo(*tiny_files, 1, scalar_mix_parameters=[0, 0, 1]).eval()(ids)["elmo_representations"][0]
    assert not torch.equal(chosen, from_files)


def test_weights_move_between_two_models(tiny_files: Files) -> None:
    """A state dict is AllenNLP's, whole: it loads, and a copy computes the same."""
    torch.manual_seed(3)
    changed = Elmo(*tiny_files, 1, requires_grad=True)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    other = Elmo(*tiny_files, 1)
    other.load_state_dict(changed.state_dict())
    ids = batch_to_ids([["river", "bank"]])
    with torch.no_grad():
        expected = copy.deepcopy(changed).eval()(ids)["elmo_representations"][0]
        assert torch.equal(other.eval()(ids)["elmo_representations"][0], expected)
        assert not torch.equal(Elmo(*tiny_files, 1).eval()(ids)["elmo_representations"][0], expected)


def test_dropout_acts_in_training_alone(tiny_files: Files) -> None:
    elmo, ids = Elmo(*tiny_files, 1, dropout=0.5), batch_to_ids([["river", "bank"] * 10])
    dropped = elmo(ids)["elmo_representations"][0].eq(0).float().mean()
    assert 0.3 < float(dropped) < 0.7
    assert not elmo.eval()(ids)["elmo_representations"][0].eq(0).any()


def test_token_embedder(tiny_files: Files) -> None:
    ids = batch_to_ids([["river", "bank"]])
    plain = ElmoTokenEmbedder(*tiny_files).eval()
    narrow = ElmoTokenEmbedder(*tiny_files, projection_dim=5).eval()
    assert (plain.get_output_dim(), narrow.get_output_dim()) == (16, 5)
    with torch.no_grad():
        x = plain(ids)
        assert x.shape == (1, 2, 16)
        plain._elmo._elmo_lstm._elmo_lstm.reset_states()
        assert narrow._projection is not None
        assert torch.allclose(narrow(ids), narrow._projection(x), atol=1e-6)
        assert narrow(ids.unsqueeze(1)).shape == (1, 1, 2, 5)
    assert {name.split(".")[0] for name in narrow.state_dict()} == {"_elmo", "_projection"}


def test_a_model_that_reads_forward_alone_is_refused(tiny_files: tuple[str, str], tmp_path: Path) -> None:
    for file in tiny_files:
        shutil.copy(file, tmp_path)
    change_json(tmp_path / "options.json", "bidirectional", False)
    with h5py.File(tmp_path / "weights.hdf5", "r+") as weights:
        del weights["RNN_1"]
    with pytest.raises(ValueError, match=r"options.json: AllenNLP's classes need a model of both directions; use elmokit.Elmo"):
        _ElmoBiLm(str(tmp_path / "options.json"), str(tmp_path / "weights.hdf5"))
