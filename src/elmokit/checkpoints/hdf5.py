"""The published layout: `options.json` and an HDF5 file of weights, as bilm-tf writes it and AllenNLP reads it.

The format holds the biLM alone: neither the language model's head nor anything about the text.

In its variant for models that read whole words a dataset `embedding` (V, P) stands in the place of the character CNN,
and a list of V words beside it says which row is whose (`word_lists.py`). bilm-tf's `dump_token_embeddings` writes that
dataset alone, computed from a character CNN, for use with the LSTMs of the file that it was made of.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from elmokit.atomic import atomic_folder
from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.files import read_json, refuse_other_contents
from elmokit.checkpoints.layout import WORD_EMBEDDING, TensorLayout, bilm_layout, lstm_group
from elmokit.checkpoints.options import make_options, read_bilm_config
from elmokit.checkpoints.packed import AnyPath, visible_files
from elmokit.checkpoints.word_lists import load_input_words, save_input_words
from elmokit.config import ElmoConfig
from elmokit.errors import FormatError

OPTIONS_NAME = "options.json"
WEIGHTS_NAME = "weights.hdf5"
VOCABULARY_NAME = "vocab.txt"
_FIRST_LSTM = f"{lstm_group(0, 0)}/W_0"
_GROUPS = ("CNN", "CNN_proj", "CNN_high_", "RNN_")
_MOST_COMPRESSED = 1100
"""No HDF5 filter makes data smaller than by this factor (deflate reaches 1032)."""


def load_hdf5(options_path: AnyPath, weights_path: AnyPath) -> Checkpoint:
    """Read a model in the published layout.

    Its text settings are the defaults (tokenizer "words"): the published models were trained on text in the style of
    the Penn Treebank, and the files do not say.

    Args:
        options_path: `options.json`.
        weights_path: The HDF5 file; or one that holds word vectors alone, if that of the LSTMs, `*weights.hdf5`, lies beside it.

    Raises:
        ValueError: A file cannot be read.
        FormatError: The file, the dataset or key that is damaged, missing or of the wrong shape, and what was expected.
    """
    options = read_json(options_path)
    origin = f"published layout: {options_path} and {weights_path}"
    with ExitStack() as files:
        file = files.enter_context(_opened(weights_path))
        datasets = {name: (dataset, weights_path) for name, dataset in _datasets(file)}
        if WORD_EMBEDDING in datasets and _FIRST_LSTM not in datasets:
            path = _lstms_beside(weights_path)
            origin += f", LSTMs of {path}"
            lstms = _datasets(files.enter_context(_opened(path)))
            datasets |= {name: (dataset, path) for name, dataset in lstms if name.startswith("RNN_")}
        config = read_bilm_config(options, options_path, {name: dataset.shape for name, (dataset, _) in datasets.items()})
        entries: list[TensorLayout] = []
        for entry in bilm_layout(config):  # all shapes first: nothing is read from a file that does not fit
            dataset, path = datasets.get(entry.dataset, (None, weights_path))
            _check(dataset, entry, path, options_path)
            entries.append(entry)
        _refuse_others(set(datasets) - {entry.dataset for entry in entries}, weights_path, options_path)
        words = load_input_words(weights_path, config.word_table.words) if config.word_table else None
        bilm = {entry.name: _read(*datasets[entry.dataset], entry) for entry in entries}
    return Checkpoint(config=ElmoConfig(bilm=config), bilm=bilm, input_words=words, origin=origin)


def save_hdf5(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `options.json` and `weights.hdf5` (float32) into `folder`, in the published layout.

    For a model that reads whole words `vocab.txt` too. Warns (UserWarning) of what the format cannot hold.

    Args:
        checkpoint: The model.
        folder: A new or empty folder, or one that holds just these files, which are replaced.

    Raises:
        ValueError: `folder` is a file or holds anything else; or this layout has no place for such a model.
    """
    refuse_other_contents(folder, {OPTIONS_NAME, WEIGHTS_NAME, VOCABULARY_NAME})
    _refuse_unheld(checkpoint)
    with atomic_folder(folder) as temporary:
        options = json.dumps(make_options(checkpoint.config.bilm), indent=1)
        (temporary / OPTIONS_NAME).write_text(options + "\n", encoding="utf-8")
        (temporary / WEIGHTS_NAME).write_bytes(_packed(checkpoint))
        table = checkpoint.config.bilm.word_table
        if table is not None and checkpoint.input_words is not None:
            save_input_words(checkpoint.input_words, table.words, temporary / VOCABULARY_NAME)
    checkpoint.warn_of_losses(folder, "the published layout")


def _refuse_unheld(checkpoint: Checkpoint) -> None:
    """Refuse a model for which this layout has no place."""
    checkpoint.refuse_one_direction("the published layout")
    config = checkpoint.config.bilm
    projected = config.word_table is not None and config.word_table.projection
    if config.reads not in ("bytes", "whole words") or projected or config.forget_bias != 1:
        raise ValueError(
            f"{checkpoint.origin}: the published layout cannot hold this model: it is for those of bilm-tf, which read bytes, "
            f"or whole words without a projection, and add 1 to the forget gate; this one reads {config.reads} and adds "
            f"{config.forget_bias:g}"
        )


def _packed(checkpoint: Checkpoint) -> memoryview:
    """Write the weight file in memory: on a full disk h5py would write a page of complaints for each dataset."""
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        for entry in bilm_layout(checkpoint.config.bilm):
            tensor = checkpoint.bilm[entry.name].detach().float().cpu()
            tensor = tensor.permute(*reversed(range(tensor.dim()))) if entry.transposed else tensor
            file.create_dataset(entry.dataset, data=tensor.numpy().reshape(entry.dataset_shape))
    return buffer.getbuffer()


def _lstms_beside(path: AnyPath) -> AnyPath:
    """Find the weights to which a file of word vectors alone belongs."""
    found = [other for other in visible_files(path.parent) if other.suffix == path.suffix and other.stem.endswith("weights")]
    others = [other for other in found if other.name != path.name]
    if len(others) != 1:
        raise FormatError(f"{path}: holds word vectors alone; expected one *weights{path.suffix} beside it, found {len(others)}")
    return others[0]


@contextmanager
def _opened(path: AnyPath) -> Iterator[h5py.File]:
    """Open a weight file; whatever h5py says of a damaged file becomes one error."""
    if not path.is_file():
        raise ValueError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}, expected an HDF5 weight file")
    try:
        with h5py.File(path if isinstance(path, Path) else path.open(), "r") as file:
            yield file
    except FormatError:
        raise
    except PermissionError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise FormatError(f"{path}: not an HDF5 file, or damaged or cut short ({error})") from error


def _check(dataset: h5py.Dataset | None, entry: TensorLayout, path: AnyPath, options_path: AnyPath) -> None:
    """Refuse a dataset that is not what `options.json` asks for, without reading it."""
    expected = f"expected float32 of shape {entry.dataset_shape} by {options_path.name}"
    if dataset is None:
        raise FormatError(f"{path}: dataset {entry.dataset} is missing, {expected}")
    if dataset.external or dataset.is_virtual:  # a hostile file could so read any other one of this machine
        raise FormatError(f"{path}: dataset {entry.dataset} keeps its numbers in another file; {expected}, in this one")
    if dataset.dtype.kind != "f":
        raise FormatError(f"{path}: dataset {entry.dataset} is of type {dataset.dtype}, {expected}")
    if dataset.shape != entry.dataset_shape:
        raise FormatError(f"{path}: dataset {entry.dataset} has the shape {dataset.shape}, {expected}")
    packed = dataset.id.get_create_plist().get_nfilters() > 0
    if dataset.id.get_storage_size() * (_MOST_COMPRESSED if packed else 1) < dataset.nbytes:
        raise FormatError(f"{path}: dataset {entry.dataset} was never (fully) written; {expected}")


def _refuse_others(others: set[str], path: AnyPath, options_path: AnyPath) -> None:
    """Refuse a network with more layers, filters or highways than the options name: some of it would be lost."""
    inside = sorted(name for name in others if name.startswith(_GROUPS))
    if inside:
        raise FormatError(f"{path}: dataset {inside[0]} has no place in the network that {options_path} describes")


def _datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    """All datasets, by name."""
    found: list[tuple[str, h5py.Dataset]] = []

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item))

    file.visititems(add)
    return found


def _read(dataset: h5py.Dataset, path: AnyPath, entry: TensorLayout) -> Tensor:
    """Read one dataset as float32 and turn it to our layout."""
    array = np.empty(dataset.shape, np.float32)
    dataset.read_direct(array)
    if not np.isfinite(array).all():  # the format has no checksums: this much of what damage does can be seen
        raise FormatError(f"{path}: dataset {entry.dataset} has values that are no finite numbers; is it damaged?")
    tensor = torch.from_numpy(array.reshape(entry.dataset_shape[-3:]))
    return tensor.permute(*reversed(range(tensor.dim()))).contiguous() if entry.transposed else tensor
