"""Models that TensorFlow wrote: bilm-tf's training folders, and the SavedModels of TensorFlow Hub and DeepPavlov.

    training folder    checkpoint, options.json, PREFIX.index, PREFIX.data-…; a vocabulary, here or in the folder above
    SavedModel         saved_model.pb, variables/variables.index, variables/variables.data-…

Variables are known by the ends of their names, whatever stands before (`lm/`, `bilm/`, `module/bilm/`). A training
folder is the only published format that carries the language model's softmax. The graphs (`.meta`, `saved_model.pb`)
and the optimizer's variables (`…/Adagrad`) are not read.

No SavedModel of these publishers could be had when this was written: that reader was tried on files of our own, made
after their programs' code, and is **unverified on the original files**.
"""

import re
import warnings
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elmokit.checkpoints.checkpoint import TABLE, Checkpoint, LayerMix
from elmokit.checkpoints.files import read_json
from elmokit.checkpoints.layout import EMBEDDING, WORD_EMBEDDING, TensorLayout, bilm_layout, lstm_group
from elmokit.checkpoints.options import read_bilm_config
from elmokit.checkpoints.packed import AnyPath
from elmokit.checkpoints.shapes import published_options
from elmokit.checkpoints.tf_bundle import FLOATS, INDEX_SUFFIX, Bundle
from elmokit.checkpoints.tf_vocabulary import find_vocabulary
from elmokit.config import BiLMConfig, ElmoConfig, TextConfig
from elmokit.errors import FormatError
from elmokit.text.tables import WordTable

SAVED_MODEL_NAME: Final = "saved_model.pb"
STATE_NAME: Final = "checkpoint"
_OPTIONS_NAME = "options.json"
_UNVERIFIED = "a reader that is unverified on the original files"
_WEIGHTS, _SCALING = "aggregation/weights", "aggregation/scaling"
_SOFTMAX, _BIAS = "softmax/W", "softmax/b"
_PLAIN = re.compile(
    r"(?:.*/)?(char_embed|embedding|CNN/[Wb]_cnn_\d{1,3}|CNN_high_\d{1,3}/[Wb]_(?:carry|transform)|CNN_proj/[Wb]_proj|"
    r"softmax/[Wb]|aggregation/(?:weights|scaling))"
)
_CELL = re.compile(
    r"(?:.*/)?RNN_([01])/(?:rnn/(?:multi_rnn_cell/cell_(\d{1,3})/)?|RNN/MultiRNNCell/Cell(\d{1,3})/(?:rnn/)?)"
    r"lstm_cell/(kernel|bias|projection/kernel)"
)
_FORWARD_CELL = re.compile(r"lm/rnn/(?:multi_rnn_cell/cell_(\d{1,3})/)?lstm_cell/(kernel|bias|projection/kernel)")
"""Of a model that bilm-tf trained forward alone: its only direction has no number."""
_OF_CELL = {"kernel": "W_0", "bias": "B", "projection/kernel": "W_P_0"}
_STATE = re.compile(r'^\s*model_checkpoint_path\s*:\s*"([^"\n]*)"', re.MULTILINE)


class _Source:
    """A checkpoint whose variables go by the names that they have in the published HDF5 files."""

    def __init__(self, index: AnyPath) -> None:
        self.bundle = Bundle(index)
        self.names: dict[str, str] = {}
        for variable in self.bundle.variables:
            name = _published_name(variable)
            if name is None:
                continue
            if name in self.names:
                raise FormatError(f"{index}: has two variables for {name}: {self.names[name]} and {variable}; two models?")
            self.names[name] = variable
        self.shapes = {name: self.bundle.variables[variable].shape for name, variable in self.names.items()}

    def check(self, name: str, *shapes: tuple[int, ...], by: object) -> None:
        """Refuse a variable that is not there or of another shape than one of `shapes`.

        Raises:
            FormatError: Names it and what was expected.
        """
        expected = f"expected floats of shape {' or '.join(map(str, shapes))} by {by}"
        if name not in self.names:
            raise FormatError(f"{self.bundle.index}: no variable for {name}, {expected}")
        variable = self.bundle.variables[self.names[name]]
        if variable.shape not in shapes:
            raise FormatError(f"{self.bundle.index}: variable {self.names[name]} has the shape {variable.shape}, {expected}")
        if variable.dtype not in FLOATS:
            raise FormatError(f"{self.bundle.index}: variable {self.names[name]} is no array of floats, {expected}")

    def read(self, name: str) -> Tensor:
        """Give the numbers as float32, on the mapped file where it can be so."""
        array = self.bundle.read(self.names[name])
        return torch.from_numpy(np.require(array, np.float32, ["C", "A", "W"]))


def load_training_folder(place: AnyPath) -> Checkpoint:
    """Read what bilm-tf's training leaves: the biLM, its softmax and its vocabulary.

    The vocabulary is the file beside (or one folder above) that has "vocab" in its name and as many words as the softmax.
    Without one the softmax is left out, with a warning. Where a folder has several checkpoints, the file `checkpoint`
    chooses; an `.index` file may be given instead. Texts are split at white space, as bilm-tf does in training.

    Args:
        place: The folder, its file `checkpoint`, or an `.index` file in it.

    Raises:
        ValueError: A file cannot be read.
        FormatError: The file, and the variable or byte that is damaged, missing or of the wrong shape.
    """
    folder = place if place.is_dir() else place.parent
    index = place if place.name.endswith(INDEX_SUFFIX) else _latest(folder)
    source, options_path = _Source(index), folder / _OPTIONS_NAME
    config = read_bilm_config(read_json(options_path), options_path, source.shapes)
    _check(source, config, options_path)
    words = source.shapes[_BIAS][0] if len(source.shapes.get(_BIAS, ())) == 1 else None
    found = None if words is None else find_vocabulary(folder, words)
    if found is None:
        if config.word_table is not None:
            raise FormatError(f"{folder}: this model reads whole words, and there is no vocabulary of {words} words beside it")
        what = (
            "has no softmax" if words is None else f"a vocabulary of {words:,} words (a file with vocab in its name) is missing"
        )
        warnings.warn(f"{folder}: {what}: the language model's head is left out, so it cannot score text", stacklevel=2)
    bilm = _read_bilm(source, config)
    return Checkpoint(
        config=ElmoConfig(bilm=config, text=TextConfig(tokenizer="whitespace")),
        bilm=bilm,
        head=None if found is None else _read_head(source, found.rows_V, config, bilm),
        vocabulary=found and found.vocabulary,
        input_words=WordTable(found.ids) if found and config.word_table is not None else None,
        origin=f"TensorFlow checkpoint of bilm-tf: {index}",
    )


def load_saved_model(folder: AnyPath) -> Checkpoint:
    """Read a SavedModel of TensorFlow Hub (`elmo/1`, `/2`, `/3`) or DeepPavlov; **unverified on the original files**.

    Sizes are those of the variables; what these do not say (clips of 3, relu, skip connections) is as published, unless
    an `options.json` lies beside. The softmax is not in such files; the mix of layers, if there, becomes `mixes`.

    Args:
        folder: The folder with `saved_model.pb` and `variables/`.

    Raises:
        FormatError: The file, and the variable or byte that is damaged, missing or of the wrong shape.
    """
    index = folder / "variables" / "variables.index"
    if not index.is_file():
        raise FormatError(f"{index}: missing, though {SAVED_MODEL_NAME} is there; fetch the whole folder")
    source, options_path = _Source(index), folder / _OPTIONS_NAME
    given = options_path.is_file()
    options = read_json(options_path) if given else published_options(source.shapes, str(index))
    by = options_path if given else index
    config = read_bilm_config(options, by, source.shapes)
    _check(source, config, by)
    return Checkpoint(
        config=ElmoConfig(bilm=config),
        bilm=_read_bilm(source, config),
        mixes=_read_mix(source, config),
        origin=f"SavedModel, by {_UNVERIFIED}: {folder}",
    )


def _published_name(variable: str) -> str | None:
    """The name that a variable has in the published HDF5 files (of the softmax and the mix: the end of its own); or None."""
    plain = _PLAIN.fullmatch(variable)
    if plain:
        return plain[1]
    forward = _FORWARD_CELL.fullmatch(variable)
    if forward:
        return f"{lstm_group(0, int(forward[1] or 0))}/{_OF_CELL[forward[2]]}"
    cell = _CELL.fullmatch(variable)
    if cell is None:
        return None
    layer = int(cell[2] or cell[3] or 0)  # a single layer stands without a number
    return f"{lstm_group(int(cell[1]), layer)}/{_OF_CELL[cell[4]]}"


def _latest(folder: AnyPath) -> AnyPath:
    """The index that the file `checkpoint` names; without that file, the only one."""
    state = folder / STATE_NAME
    if not state.is_file():
        indices = [path for path in folder.iterdir() if path.name.endswith(INDEX_SUFFIX) and path.is_file()]
        if len(indices) == 1:
            return indices[0]
        raise FormatError(f"{folder}: has {len(indices)} files *{INDEX_SUFFIX} and no file {STATE_NAME}; name one of them")
    match = _STATE.search(state.read_bytes().decode("utf-8", "replace"))
    if match is None:
        raise FormatError(f"{state}: names no model_checkpoint_path; is the file damaged?")
    prefix = re.split(r"[/\\]", match[1])[-1]  # often the absolute path of another machine: its last part counts
    index = folder / f"{prefix}{INDEX_SUFFIX}"
    if not index.is_file():
        raise FormatError(f"{index}: missing, though {STATE_NAME} names it")
    return index


def _check(source: _Source, config: BiLMConfig, by: object) -> None:
    """Refuse a checkpoint that has more or less than the network, before any number is read."""
    expected = set()
    for entry in bilm_layout(config):
        source.check(entry.dataset, *_shapes(entry), by=by)
        expected.add(entry.dataset)
    known = ("softmax", "aggregation", WORD_EMBEDDING)
    others = [name for name in source.names if name not in expected and not name.startswith(known)]
    if others:
        raise FormatError(f"{source.bundle.index}: variable {source.names[others[0]]} has no place in the network of {by}")


def _shapes(entry: TensorLayout) -> list[tuple[int, ...]]:
    """The shapes that a variable may have: at inference the characters have a zero row in front, for the mask."""
    rows, *rest = entry.dataset_shape
    return [entry.dataset_shape, (rows + 1, *rest)] if entry.dataset == EMBEDDING else [entry.dataset_shape]


def _read_bilm(source: _Source, config: BiLMConfig) -> dict[str, Tensor]:
    """Read the biLM's tensors and turn them to our layout."""
    bilm = {}
    for entry in bilm_layout(config):
        tensor = source.read(entry.dataset)
        if tensor.shape != entry.dataset_shape:
            tensor = tensor[1:]
        tensor = tensor.reshape(entry.dataset_shape[-3:])
        bilm[entry.name] = tensor.permute(*reversed(range(tensor.dim()))).contiguous() if entry.transposed else tensor
    return bilm


def _read_head(source: _Source, rows_V: NDArray[np.int64], config: BiLMConfig, bilm: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read the softmax, its rows in the vocabulary's order. Tied to the table of words, it has no W of its own."""
    shape, by = (len(rows_V), config.output_dim), "the options and the vocabulary"
    source.check(_BIAS, shape[:1], by=by)
    tied = _SOFTMAX not in source.names and WORD_EMBEDDING in source.names
    source.check(WORD_EMBEDDING if tied else _SOFTMAX, shape, by=by)
    weight, bias = bilm[TABLE] if tied else source.read(_SOFTMAX), source.read(_BIAS)
    if np.array_equal(rows_V, np.arange(len(rows_V))):
        return {"weight": weight, "bias": bias}
    order_V = torch.from_numpy(rows_V)
    return {"weight": weight[order_V], "bias": bias[order_V]}


def _read_mix(source: _Source, config: BiLMConfig) -> tuple[LayerMix, ...]:
    """Read the mix of layers that was trained with the model, if there is one."""
    if _WEIGHTS not in source.names or _SCALING not in source.names:
        return ()
    source.check(_WEIGHTS, (config.layers + 1,), by="the number of layers")
    source.check(_SCALING, (), (1,), by="the equation of the mix")
    return (LayerMix(tuple(source.read(_WEIGHTS).tolist()), source.read(_SCALING).item()),)
