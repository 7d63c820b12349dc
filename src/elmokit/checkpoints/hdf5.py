"""The published layout: `options.json` and an HDF5 file of weights, as bilm-tf writes it and AllenNLP reads it.

The format holds the biLM alone: neither the language model's head nor anything about the text.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from elmokit.atomic import atomic_folder
from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.files import read_json, refuse_other_contents
from elmokit.checkpoints.layout import EMBEDDING, TensorLayout, bilm_layout
from elmokit.checkpoints.options import make_options, read_bilm_config
from elmokit.config import ElmoConfig
from elmokit.errors import FormatError

OPTIONS_NAME = "options.json"
WEIGHTS_NAME = "weights.hdf5"
_GROUPS = ("CNN", "CNN_proj", "CNN_high_", "RNN_")
_MOST_COMPRESSED = 1100
"""No HDF5 filter makes data smaller than by this factor (deflate reaches 1032)."""


def load_hdf5(options_path: Path, weights_path: Path) -> Checkpoint:
    """Read a model in the published layout.

    Its text settings are the defaults (tokenizer "words"): the published models were trained on text in the style of
    the Penn Treebank, and the files do not say.

    Args:
        options_path: `options.json`.
        weights_path: The HDF5 file.

    Raises:
        ValueError: A file cannot be read.
        FormatError: The file, the dataset or key that is damaged, missing or of the wrong shape, and what was expected.
    """
    options = read_json(options_path)
    with _opened(weights_path) as file:
        if EMBEDDING not in file and "embedding" in file:
            raise FormatError(
                f"{weights_path}: has a dataset embedding and no {EMBEDDING}: "
                "models that read whole words, not characters, are not supported yet"
            )
        config = read_bilm_config(options, options_path, file)
        entries: list[TensorLayout] = []
        for entry in bilm_layout(config):  # all shapes first: nothing is read from a file that does not fit
            _check(file, entry, weights_path, options_path)
            entries.append(entry)
        _refuse_others(file, {entry.dataset for entry in entries}, weights_path, options_path)
        bilm = {entry.name: _read(file[entry.dataset], entry) for entry in entries}
    origin = f"published layout: {options_path} and {weights_path}"
    return Checkpoint(config=ElmoConfig(bilm=config), bilm=bilm, origin=origin)


def save_hdf5(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `options.json` and `weights.hdf5` (float32) into `folder`, in the published layout.

    Warns (UserWarning) of what the format cannot hold.

    Args:
        checkpoint: The model.
        folder: A new or empty folder, or one that holds just these two files, which are replaced.

    Raises:
        ValueError: `folder` is a file or holds anything else.
    """
    refuse_other_contents(folder, {OPTIONS_NAME, WEIGHTS_NAME})
    with atomic_folder(folder) as temporary:
        options = json.dumps(make_options(checkpoint.config.bilm), indent=1)
        (temporary / OPTIONS_NAME).write_text(options + "\n", encoding="utf-8")
        (temporary / WEIGHTS_NAME).write_bytes(_packed(checkpoint))
    lost = {
        "the tokenizer and normalization": checkpoint.config.text,
        "the languages": checkpoint.config.languages or None,
        "the licence": checkpoint.config.license,
        "the language model's head": checkpoint.head,
        "the vocabulary": checkpoint.vocabulary,
        "the layer means": checkpoint.layer_means_LD,
        "the model card": checkpoint.card,
    }
    names = ", ".join(name for name, value in lost.items() if value is not None)
    warnings.warn(f"{folder}: the published layout cannot hold {names}: left out", UserWarning, stacklevel=2)


def _packed(checkpoint: Checkpoint) -> memoryview:
    """Write the weight file in memory: on a full disk h5py would write a page of complaints for each dataset."""
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        for entry in bilm_layout(checkpoint.config.bilm):
            tensor = checkpoint.bilm[entry.name].detach().float().cpu()
            tensor = tensor.permute(*reversed(range(tensor.dim()))) if entry.transposed else tensor
            file.create_dataset(entry.dataset, data=tensor.numpy().reshape(entry.dataset_shape))
    return buffer.getbuffer()


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a weight file; whatever h5py says of a damaged file becomes one error."""
    if not path.is_file():
        raise ValueError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}, expected an HDF5 weight file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FormatError:
        raise
    except PermissionError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError) as error:
        raise FormatError(f"{path}: not an HDF5 file, or damaged or cut short ({error})") from error


def _check(file: h5py.File, entry: TensorLayout, path: Path, options_path: Path) -> None:
    """Refuse a dataset that is not what `options.json` asks for, without reading it."""
    expected = f"expected float32 of shape {entry.dataset_shape} by {options_path.name}"
    dataset = file.get(entry.dataset)
    if dataset is None:
        raise FormatError(f"{path}: dataset {entry.dataset} is missing, {expected}")
    if not isinstance(dataset, h5py.Dataset):
        raise FormatError(f"{path}: {entry.dataset} is a group, {expected}")
    if dataset.dtype.kind != "f":
        raise FormatError(f"{path}: dataset {entry.dataset} is of type {dataset.dtype}, {expected}")
    if dataset.shape != entry.dataset_shape:
        raise FormatError(f"{path}: dataset {entry.dataset} has the shape {dataset.shape}, {expected}")
    packed = dataset.id.get_create_plist().get_nfilters() > 0
    if dataset.id.get_storage_size() * (_MOST_COMPRESSED if packed else 1) < dataset.nbytes:
        raise FormatError(f"{path}: dataset {entry.dataset} was never (fully) written; {expected}")


def _refuse_others(file: h5py.File, expected: set[str], path: Path, options_path: Path) -> None:
    """Refuse a network with more layers, filters or highways than the options name: some of it would be lost."""

    def is_other(name: str, item: object) -> str | None:
        inside = name.startswith(_GROUPS) and name not in expected
        return name if inside and isinstance(item, h5py.Dataset) else None

    other = file.visititems(is_other)
    if other is not None:
        raise FormatError(f"{path}: dataset {other} has no place in the network that {options_path} describes")


def _read(dataset: h5py.Dataset, entry: TensorLayout) -> Tensor:
    """Read one dataset as float32 and turn it to our layout."""
    array = np.empty(dataset.shape, np.float32)
    dataset.read_direct(array)
    tensor = torch.from_numpy(array.reshape(entry.dataset_shape[-3:]))
    return tensor.permute(*reversed(range(tensor.dim()))).contiguous() if entry.transposed else tensor
