"""AllenNLP's task archives (`model.tar.gz`): the ELMo inside, with the mix of layers that the task learned.

    config.json     the experiment; says which task it was
    weights.th      the whole model's state dict: ELMo under some prefix, such as
                    `text_field_embedder.token_embedder_elmo._elmo.`
    vocabulary/     the task's; not read
    fta/            at times the `options.json` of the ELMo

The task's own network is not ours to run: it is named in a warning and left out. Sizes are those of the tensors; what
these do not say comes from the options in the archive, else it is as published. AllenNLP stores the forget gate's bias
with 1 added; taking it away again rounds, by 1.2e-7 at most for biases below 3.
"""

import math
import warnings
from typing import Any, Final

from torch import Tensor

from elmokit.checkpoints.allennlp_layout import bilm_from_allennlp, part
from elmokit.checkpoints.checkpoint import Checkpoint, LayerMix
from elmokit.checkpoints.files import read_json
from elmokit.checkpoints.layout import CNN_PROJECTION, EMBEDDING, bilm_layout, lstm_group
from elmokit.checkpoints.options import read_bilm_config
from elmokit.checkpoints.packed import AnyPath, visible_files
from elmokit.checkpoints.pickles import load_state_dict
from elmokit.checkpoints.shapes import published_options
from elmokit.config import BiLMConfig, ElmoConfig
from elmokit.errors import FormatError

WEIGHTS_NAME: Final = "weights.th"
_CONFIG_NAME = "config.json"
_CHARACTERS = "_token_embedder._char_embedding_weights"
_TRANSFORMER = "bidirectional_language_model_transformer"


def load_task_archive(folder: AnyPath) -> Checkpoint:
    """Read the ELMo of an AllenNLP model, unpacked or in its archive; warns of the task, which is left out.

    Args:
        folder: What the archive holds: `weights.th` and `config.json`.

    Raises:
        ValueError: A file cannot be read.
        FormatError: A file is damaged; there is no ELMo in the model, or it is a transformer-ELMo.
    """
    weights, config_path = folder / WEIGHTS_NAME, folder / _CONFIG_NAME
    experiment = read_json(config_path) if config_path.is_file() else {}
    model = experiment.get("model")
    task = str(model.get("type", "unknown") if isinstance(model, dict) else "unknown")
    state = load_state_dict(weights)
    prefix = _elmo_prefix(state, experiment, task, weights)
    bilm = _converted(part(state, prefix), weights)
    config = _config(folder, bilm)
    _check(bilm, config, weights)
    mixes = _mixes(part(state, prefix.removesuffix("_elmo_lstm.")), config, experiment, weights)
    rest = sum(not name.startswith(prefix.removesuffix("_elmo_lstm.")) for name in state)
    warnings.warn(
        f"{folder}: an AllenNLP model for a task, of type {task!r}: its ELMo and {len(mixes)} mix(es) of layers are loaded; "
        f"the task itself ({rest} other tensors) is left out, elmokit cannot run it",
        stacklevel=2,
    )
    return Checkpoint(
        config=ElmoConfig(bilm=config), bilm=bilm, mixes=mixes, origin=f"ELMo of an AllenNLP model {task!r}: {folder}"
    )


def _elmo_prefix(state: dict[str, Tensor], experiment: dict[str, Any], task: str, path: AnyPath) -> str:
    """What stands before the names of a `_ElmoBiLm`'s parameters."""
    prefixes = [name.removesuffix(_CHARACTERS) for name in sorted(state) if name.endswith(_CHARACTERS)]
    prefixes = [prefix for prefix in prefixes if any(name.startswith(f"{prefix}_elmo_lstm.") for name in state)]
    if not prefixes:
        if _TRANSFORMER in repr(experiment) or any("backward_transformer" in name for name in state):
            raise FormatError(
                f"{path}: a transformer-ELMo ({_TRANSFORMER}): another network than ELMo's LSTMs, which elmokit does not read"
            )
        raise FormatError(f"{path}: there is no ELMo in this AllenNLP model of type {task!r}")
    if len(prefixes) > 1:
        warnings.warn(f"{path}: holds {len(prefixes)} ELMos; loaded is the one at {prefixes[0]}", stacklevel=3)
    return prefixes[0]


def _converted(tensors: dict[str, Tensor], path: AnyPath) -> dict[str, Tensor]:
    """Turn AllenNLP's parameters into ours, float32 and in memory of their own."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise FormatError(f"{path}: tensor {name} is {tensor.dtype}, expected floats")
    try:
        bilm = bilm_from_allennlp(tensors)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path}: the parameters of the ELMo are not those of AllenNLP ({error})") from error
    converted = {name: tensor.detach().float().contiguous().clone() for name, tensor in bilm.items()}
    for name, tensor in converted.items():
        if not tensor.isfinite().all():
            raise FormatError(f"{path}: tensor {name} of the ELMo has numbers that are not finite; is the file damaged?")
    return converted


def _config(folder: AnyPath, bilm: dict[str, Tensor]) -> BiLMConfig:
    """What the network is: by the options in the archive if they are there, else by the shapes."""
    shapes = _published_shapes(bilm)
    attached = visible_files(folder / "fta") if (folder / "fta").is_dir() else []
    path = next((path for path in attached if path.name.endswith("options_file")), folder / "options.json")
    if path.is_file():
        return read_bilm_config(read_json(path), path, shapes)
    return read_bilm_config(published_options(shapes, str(folder / WEIGHTS_NAME)), folder / WEIGHTS_NAME, shapes)


def _published_shapes(bilm: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes that tell the sizes, by their names and axes in the published HDF5 files."""
    shapes = {}
    for name, tensor in bilm.items():
        first, *middle, last = name.split(".")
        shape = tuple(tensor.shape)
        if name == "words.embedding.weight":
            shapes[EMBEDDING] = shape
        elif name == "words.projection.weight":
            shapes[CNN_PROJECTION] = shape[::-1]
        elif middle[0] == "convolutions" and last == "weight":
            shapes[f"CNN/W_cnn_{middle[1]}"] = (1, *shape[::-1])
        elif middle[0] == "highways" and name.endswith("carry.weight"):
            shapes[f"CNN_high_{middle[1]}/W_carry"] = shape
        elif first == "forward_stack" and middle[1].isdecimal():
            kind = {"kernel": "W_0", "bias": "B", "projection": "W_P_0"}[last]
            shapes[f"{lstm_group(0, int(middle[1]))}/{kind}"] = shape
    return shapes


def _check(bilm: dict[str, Tensor], config: BiLMConfig, path: AnyPath) -> None:
    """Refuse tensors that are not those of the network."""
    expected = {entry.name: entry.shape for entry in bilm_layout(config)}
    for name in sorted(expected.keys() | bilm.keys()):
        shape = tuple(bilm[name].shape) if name in bilm else "missing"
        if shape != expected.get(name):
            raise FormatError(f"{path}: tensor {name} of the ELMo is {shape}, expected {expected.get(name, 'none of this name')}")


def _mixes(elmo: dict[str, Tensor], config: BiLMConfig, experiment: dict[str, Any], path: AnyPath) -> tuple[LayerMix, ...]:
    """The mixes of layers that the task learned."""
    mixes: list[LayerMix] = []
    while f"scalar_mix_{len(mixes)}.gamma" in elmo:
        mix = part(elmo, f"scalar_mix_{len(mixes)}.")
        names = ["gamma", *(f"scalar_parameters.{layer}" for layer in range(config.layers + 1))]
        if mix.keys() != set(names) or any(tensor.numel() != 1 for tensor in mix.values()):
            raise FormatError(f"{path}: scalar_mix_{len(mixes)} is no mix of {config.layers + 1} layers")
        gamma, *weights = (float(mix[name]) for name in names)
        if not all(map(math.isfinite, (gamma, *weights))):
            raise FormatError(f"{path}: scalar_mix_{len(mixes)} has numbers that are not finite; is the file damaged?")
        mixes.append(LayerMix(tuple(weights), gamma, _layer_norm(experiment)))
    return tuple(mixes)


def _layer_norm(value: object) -> bool:
    """Whether any part of an experiment asks for layer norm before mixing."""
    if isinstance(value, dict):
        return value.get("do_layer_norm") is True or any(map(_layer_norm, value.values()))
    return isinstance(value, list) and any(map(_layer_norm, value))
