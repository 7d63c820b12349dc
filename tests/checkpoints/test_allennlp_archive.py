"""AllenNLP's task archives: the ELMo inside gives the recorded numbers; the rest is named."""

import json
import math
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints.damage import bytes_changed, cuts, unless_refused
from tests.checkpoints.small_models import change_json
from tests.golden.cases import DATA, Case, distance, load_case
from torch import Tensor

from elmokit.checkpoints.checkpoint import LayerMix, build_bilm
from elmokit.checkpoints.hdf5 import load_hdf5
from elmokit.checkpoints.load import load_checkpoint
from elmokit.compat.allennlp import Elmo
from elmokit.embedding.elmo import Elmo as OurElmo
from elmokit.errors import FormatError
from elmokit.model.scalar_mix import ScalarMix
from elmokit.text.batch import word_batch

TINY = DATA / "models/random_tiny"
PREFIX = "text_field_embedder.token_embedder_elmo._elmo."
EXPERIMENT = {
    "model": {
        "type": "crf_tagger",
        "text_field_embedder": {"token_embedders": {"elmo": {"type": "elmo_token_embedder", "do_layer_norm": False}}},
    }
}

State = dict[str, Tensor]
pytestmark = pytest.mark.filterwarnings("ignore:.*an AllenNLP model for a task:UserWarning")


def elmo_state(case: Case) -> State:
    """The state of AllenNLP's `Elmo` with the recorded mixes, under the names of a model for a task."""
    call = case.facts["call"]
    options, weights = str(TINY / "options.json"), str(TINY / "weights.hdf5")
    elmo = Elmo(options, weights, call["num_output_representations"], do_layer_norm=call["do_layer_norm"])
    state = elmo.state_dict()
    for number, mix in enumerate(call["set_after_construction"]):
        state[f"scalar_mix_{number}.gamma"] = torch.tensor([mix["gamma"]])
        for layer, weight in enumerate(mix["scalar_parameters"]):
            state[f"scalar_mix_{number}.scalar_parameters.{layer}"] = torch.tensor([weight])
    return {PREFIX + name: tensor for name, tensor in state.items()}


def write_model(folder: Path, state: State, experiment: Any = EXPERIMENT, options: bool = True, **save: Any) -> Path:
    """Write what an archive holds."""
    (folder / "fta").mkdir(parents=True)
    (folder / "vocabulary").mkdir()
    (folder / "vocabulary/labels.txt").write_text("O\nB\n", encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(experiment), encoding="utf-8")
    others = {"encoder._module.weight_ih_l0": torch.ones(3, 2), "crf.transitions": torch.ones(2, 2)}
    torch.save({**state, **others}, folder / "weights.th", **save)
    if options:
        shutil.copy(TINY / "options.json", folder / "fta/model.text_field_embedder.token_embedders.elmo.options_file")
    return folder


def packed(folder: Path) -> Path:
    """The archive `model.tar.gz` beside a folder."""
    with tarfile.open(folder.parent / "model.tar.gz", "w:gz") as tar:
        tar.add(folder, "")
    return folder.parent / "model.tar.gz"


@pytest.fixture
def state() -> State:
    """The ELMo of a task model."""
    return elmo_state(load_case("tiny_elmo_ln0_keep0"))


def same_but_for_rounding(a: State, b: State) -> bool:
    """The forget gate's bias lost its last bit when 1 was added and taken away; all else is identical."""
    biases = {name for name in a if name.endswith(".bias") and "_stack" in name}
    return a.keys() == b.keys() and all(
        torch.allclose(a[name], b[name], rtol=0, atol=1.2e-7) if name in biases else torch.equal(a[name], b[name]) for name in a
    )


@pytest.mark.parametrize("name", ["tiny_elmo_ln0_keep0", "tiny_elmo_ln1_keep0"])
def test_the_recorded_numbers(name: str, tmp_path: Path) -> None:
    """AllenNLP's own outputs, from the archive of a model that holds its parameters."""
    case = load_case(name)
    layer_norm = case.facts["call"]["do_layer_norm"]
    experiment = {"model": {"type": "crf_tagger", "embedders": [{"do_layer_norm": layer_norm}]}}
    checkpoint = load_checkpoint(packed(write_model(tmp_path / "model", elmo_state(case), experiment)))
    bilm = build_bilm(checkpoint)
    assert len(checkpoint.mixes) == 2
    for number, sentences in enumerate(case.batches[:1]):  # the later ones carry a state
        batch = word_batch(sentences)
        with torch.no_grad():
            layers_LBTD, _ = bilm(batch)
        lengths_B1 = torch.from_numpy(batch.lengths_B)[:, None]
        positions_T = torch.arange(layers_LBTD.shape[2])
        for i, recorded in enumerate(checkpoint.mixes):
            mix = ScalarMix(3, recorded.layer_norm, list(recorded.weights))
            torch.nn.init.constant_(mix.gamma, recorded.gamma)
            x_BTD = mix(layers_LBTD, positions_T < lengths_B1)[:, 1:-1] * (positions_T[:-2] < lengths_B1 - 2)[..., None]
            assert distance(x_BTD.detach(), case.tensor(f"b{number}_rep{i}")) <= 1e-4


def test_what_is_loaded_is_said(state: State, tmp_path: Path) -> None:
    expected = load_hdf5(TINY / "options.json", TINY / "weights.hdf5")
    archive = packed(write_model(tmp_path / "model", state))
    says = r"model\.tar\.gz: an AllenNLP model for a task, of type 'crf_tagger': its ELMo and 2 mix\(es\) .* \(2 other tensors\)"
    with pytest.warns(UserWarning, match=says):
        checkpoint = load_checkpoint(archive)
    assert same_but_for_rounding(checkpoint.bilm, expected.bilm)
    assert checkpoint.config == expected.config
    first, second = checkpoint.mixes
    assert first == LayerMix(tuple(torch.tensor([0.1, 0.3, 0.5]).tolist()), torch.tensor(1.1).item())
    assert second.gamma == pytest.approx(0.88)
    assert "'crf_tagger'" in OurElmo.from_pretrained(archive, device="cpu").checkpoint.origin


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("prefix", ["", "_elmo.", "model._text_field_embedder.token_embedder_x._elmo."])
def test_any_prefix_and_both_kinds_of_pickles(old: bool, prefix: str, state: State, tmp_path: Path) -> None:
    moved = {prefix + name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    folder = write_model(tmp_path / "model", moved, _use_new_zipfile_serialization=not old)
    expected = load_hdf5(TINY / "options.json", TINY / "weights.hdf5")
    for path in (folder, folder / "weights.th", packed(folder)):
        assert same_but_for_rounding(load_checkpoint(path).bilm, expected.bilm)


def test_options_in_the_archive(state: State, tmp_path: Path) -> None:
    """They say what shapes cannot."""
    folder = write_model(tmp_path / "model", state)
    change_json(next((folder / "fta").iterdir()), "lstm.cell_clip", 0.5)
    assert load_checkpoint(packed(folder)).config.bilm.cell_clip == 0.5


def test_options_by_shapes(state: State, tmp_path: Path) -> None:
    """Where the options were an address, sizes are those of the tensors and the rest is as published."""
    checkpoint = load_checkpoint(write_model(tmp_path / "model", state, options=False))
    expected = load_hdf5(TINY / "options.json", TINY / "weights.hdf5").config.bilm
    found = checkpoint.config.bilm
    assert found.char_cnn == expected.char_cnn
    assert (found.cell_dim, found.projection_dim, found.layers) == (expected.cell_dim, expected.projection_dim, expected.layers)
    assert (found.cell_clip, found.projection_clip, found.skip_connections) == (3.0, 3.0, True)


def test_two_elmos(state: State, tmp_path: Path) -> None:
    second = {name.replace(PREFIX, "z._elmo."): tensor + 1 for name, tensor in state.items()}
    folder = write_model(tmp_path / "model", {**second, **state})
    with pytest.warns(UserWarning, match=rf"weights\.th: holds 2 ELMos; loaded is the one at {PREFIX}_elmo_lstm"):
        checkpoint = load_checkpoint(folder)
    assert same_but_for_rounding(checkpoint.bilm, load_hdf5(TINY / "options.json", TINY / "weights.hdf5").bilm)


# What is declined


def test_a_transformer_elmo(tmp_path: Path) -> None:
    experiment = {"model": {"type": "language_model", "contextualizer": {"type": "bidirectional_language_model_transformer"}}}
    weights = {"_contextualizer._backward_transformer.layers.0.norm.weight": torch.ones(2)}
    with pytest.raises(FormatError, match=r"weights\.th: a transformer-ELMo \(bidirectional_language_model_transformer\)"):
        load_checkpoint(packed(write_model(tmp_path / "model", weights, experiment)))
    with pytest.raises(FormatError, match="a transformer-ELMo"):
        load_checkpoint(write_model(tmp_path / "other", weights))


def test_a_model_without_elmo(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"weights\.th: there is no ELMo in this AllenNLP model of type 'crf_tagger'"):
        load_checkpoint(write_model(tmp_path / "model", {}))
    with pytest.raises(FormatError, match=r"of type 'unknown'"):
        load_checkpoint(write_model(tmp_path / "other", {}, {"model": None}))


LSTM = f"{PREFIX}_elmo_lstm._elmo_lstm."
WORDS = f"{PREFIX}_elmo_lstm._token_embedder."


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (f"{LSTM}forward_layer_0.state_linearity.bias", None, r"the parameters of the ELMo are not those of AllenNLP"),
        (f"{LSTM}forward_layer_0.state_linearity.weight", lambda x: x[:3], r"the parameters of the ELMo are not those of AllenN"),
        (
            f"{LSTM}backward_layer_1.state_projection.weight",
            lambda x: x[:3],
            r"tensor backward_stack.layers.1.projection of the E",
        ),
        (f"{LSTM}forward_layer_7.x.weight", torch.ones_like, r"the parameters of the ELMo are not those of AllenNLP"),
        (f"{WORDS}char_conv_2.bias", None, r"tensor words.convolutions.2.bias of the ELMo is missing"),
        (f"{WORDS}char_conv_0.weight", lambda x: x[0], r"tensor CNN/W_cnn_0 is of shape|tensor words.convolutions.0"),
        (f"{WORDS}_char_embedding_weights", lambda x: x[1:], r"tensor words.embedding.weight of the ELMo is \(260, 4\)"),
        (f"{WORDS}_projection.weight", lambda x: x.int(), r"tensor _token_embedder._projection.weight is torch.int32"),
        (f"{PREFIX}scalar_mix_1.scalar_parameters.2", None, "scalar_mix_1 is no mix of 3 layers"),
        (f"{PREFIX}scalar_mix_0.gamma", lambda _: torch.ones(2), "scalar_mix_0 is no mix of 3 layers"),
    ],
)
@pytest.mark.parametrize("options", [True, False])
def test_tensors_that_do_not_fit(
    name: str, change: Callable[[Tensor], Tensor] | None, says: str, options: bool, state: State, tmp_path: Path
) -> None:
    if change is None:
        del state[name]
    else:
        state[name] = change(state.get(name, torch.ones(2)))
    with pytest.raises(FormatError, match=rf"weights\.th: {says}"):
        load_checkpoint(write_model(tmp_path / "model", state, options=options))


class Evil:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("evil",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.ones(2)], r"expected tensors by name \(a state dict\), found list"),
        ({"a": 1}, "entry a is int, expected a tensor"),
        ({3: torch.ones(1)}, "expected tensors by name"),
        ({"a": Evil()}, "no PyTorch file of tensors alone.*it would run code or make objects"),
        ({"a": 10**15}, "no PyTorch file .*the number 1000000000000000 .* is larger than the file's"),
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_pickles_of_something_else(
    content: object, says: str, old: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    torch.save(content, tmp_path / "weights.th", _use_new_zipfile_serialization=not old)
    with pytest.raises(FormatError, match=rf"weights\.th: {says}"):
        load_checkpoint(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("old", [False, True])
def test_sizes_that_lie(old: bool, tmp_path: Path) -> None:
    """A tensor of eight gigabytes in a file of a kilobyte: refused before memory is taken."""
    torch.save({"a": torch.zeros(77)}, tmp_path / "weights.th", _use_new_zipfile_serialization=not old)
    data = (tmp_path / "weights.th").read_bytes().replace(b"KM", b"J\0\0\0\x7f")
    (tmp_path / "weights.th").write_bytes(data)
    with pytest.raises(FormatError, match=r"weights\.th: no PyTorch file"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize(
    ("number_of_cuts", "number_of_flips"), [(10, 30), pytest.param(200, 1000, marks=pytest.mark.slow)], ids=["quick", "many"]
)
def test_damage(old: bool, number_of_cuts: int, number_of_flips: int, state: State, tmp_path: Path) -> None:
    """The zip format has checksums: equal or refused. The older one has none: numbers may change, but stay finite."""
    folder = write_model(tmp_path / "model", state, _use_new_zipfile_serialization=not old)
    whole = load_checkpoint(folder)
    for damage in (cuts(folder / "weights.th", number_of_cuts), bytes_changed(folder / "weights.th", number_of_flips)):
        for _ in damage:
            found = unless_refused(lambda: load_checkpoint(folder), folder)
            if found is not None:
                assert found.bilm.keys() == whole.bilm.keys()
                same = [torch.equal(found.bilm[name], tensor) for name, tensor in whole.bilm.items()]
                assert (all(same) and found.mixes == whole.mixes) or old
                assert all(tensor.isfinite().all() for tensor in found.bilm.values())
                assert all(math.isfinite(number) for mix in found.mixes for number in (mix.gamma, *mix.weights))


@pytest.mark.parametrize("name", ["_elmo_lstm._token_embedder.char_conv_0.bias", "scalar_mix_1.gamma"])
def test_numbers_that_are_not_finite(name: str, state: State, tmp_path: Path) -> None:
    state[PREFIX + name][0] = torch.nan
    with pytest.raises(FormatError, match=r"weights\.th: .* has numbers that are not finite"):
        load_checkpoint(write_model(tmp_path / "model", state))


@pytest.mark.parametrize(
    ("number_of_cuts", "number_of_flips"), [(5, 25), pytest.param(200, 1000, marks=pytest.mark.slow)], ids=["quick", "many"]
)
def test_damage_of_an_archive_is_found(number_of_cuts: int, number_of_flips: int, state: State, tmp_path: Path) -> None:
    archive = packed(write_model(tmp_path / "model", state))
    expected = load_checkpoint(archive)
    for _ in cuts(archive, number_of_cuts):
        with pytest.raises(FormatError, match="model.tar.gz"):
            load_checkpoint(archive)
    for _ in bytes_changed(archive, number_of_flips):
        checkpoint = unless_refused(lambda: load_checkpoint(archive), archive)
        if checkpoint is not None:  # the name or the date in gzip's header
            assert all(torch.equal(checkpoint.bilm[name], expected.bilm[name]) for name in expected.bilm)
