"""What a file or folder is: each format is recognized by what is there, in a folder and in an archive alike.

    config.json of model_type "elmo"        our model folder
    char.dic, word.dic, encoder.pkl, …      a model of ELMoForManyLangs
    weights.th                              an AllenNLP task model
    saved_model.pb                          a SavedModel of TensorFlow Hub or DeepPavlov
    options.json, an HDF5 file              the published layout (NLPL: model.hdf5, else the first one)
    checkpoint, *.index, *.data-…           a training folder of bilm-tf

The first that fits counts. So of a training folder that also holds its weights as HDF5, these are read, which have no
softmax; name its file `checkpoint` to have that too. A `config.json` that does not say what it is of (on the Hub many a
model has one beside its own files) counts only if nothing else fits: then it is the one to blame.
"""

from pathlib import Path

from elmokit.checkpoints.allennlp_archive import WEIGHTS_NAME as TASK_WEIGHTS_NAME
from elmokit.checkpoints.allennlp_archive import load_task_archive
from elmokit.checkpoints.archives import is_archive, looks_packed, opened_archive
from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.folder import CONFIG_NAME, is_model_folder, load_folder
from elmokit.checkpoints.hdf5 import OPTIONS_NAME, load_hdf5
from elmokit.checkpoints.manylangs import FILE_NAMES as MANYLANGS_NAMES
from elmokit.checkpoints.manylangs import load_manylangs
from elmokit.checkpoints.packed import AnyPath, visible_files
from elmokit.checkpoints.tensorflow import SAVED_MODEL_NAME, STATE_NAME, load_saved_model, load_training_folder
from elmokit.checkpoints.tf_bundle import INDEX_SUFFIX, is_shard
from elmokit.errors import FormatError

_HDF5 = (".hdf5", ".h5")


def load_path(path: Path) -> Checkpoint:
    """Read a model from a file, folder or archive of any known format.

    Args:
        path: A folder, an archive of one, or the file of a model that matters most (`weights.hdf5`, `model.safetensors`).

    Raises:
        ValueError: A file cannot be read.
        FormatError: What stands there is damaged or of no known format.
    """
    if path.is_dir():
        return _load_folder(path)
    if is_archive(path):
        with opened_archive(path) as folder:
            return _load_folder(folder)
    if path.suffix in _HDF5:
        return load_hdf5(_partner(path, "weights", "options", (".json",)), path)
    if path.name in MANYLANGS_NAMES:
        return load_manylangs(path.parent)
    if path.name == SAVED_MODEL_NAME:
        return load_saved_model(path.parent)
    if path.name == TASK_WEIGHTS_NAME:
        return load_task_archive(path.parent)
    if path.name == STATE_NAME or path.suffix in (INDEX_SUFFIX, ".meta") or is_shard(path.name):
        return load_training_folder(path if path.name == STATE_NAME else _index_beside(path))
    if path.suffix == ".safetensors":
        return load_folder(path.parent)
    if path.name == CONFIG_NAME:
        return _load_folder(path.parent)
    if path.suffix == ".json":
        return load_hdf5(path, _partner(path, "options", "weights", _HDF5))
    if looks_packed(path):
        with opened_archive(path) as folder:
            return _load_folder(folder)
    raise FormatError(f"{path}: no known model format; expected a model folder, an archive, or options.json with an HDF5 file")


def _load_folder(folder: AnyPath) -> Checkpoint:
    """Choose by the files that a folder holds."""
    names = [path.name for path in visible_files(folder)]
    if is_model_folder(folder):
        return load_folder(folder)
    if any(name in names for name in MANYLANGS_NAMES):
        return load_manylangs(folder)
    if TASK_WEIGHTS_NAME in names:
        return load_task_archive(folder)
    if SAVED_MODEL_NAME in names:
        return load_saved_model(folder)
    options, weights = folder / OPTIONS_NAME, _weights(folder)
    if weights is not None:
        return load_hdf5(options if options.is_file() else _partner(weights, "weights", "options", (".json",)), weights)
    if STATE_NAME in names or any(name.endswith(INDEX_SUFFIX) for name in names):
        return load_training_folder(folder)
    if CONFIG_NAME in names:
        return load_folder(folder)
    found = "one HDF5 file of weights" if options.is_file() else f"{CONFIG_NAME}, or {OPTIONS_NAME} and one HDF5 file of weights"
    names += [f"{path.name}/" for path in folder.iterdir() if path.is_dir()]
    raise FormatError(f"{folder}: no model folder; missing is {found}; found {', '.join(names[:5]) or 'nothing'}")


def _weights(folder: AnyPath) -> AnyPath | None:
    """The HDF5 file of a folder: the only one, else what is called so, else, if options say that it is a model, the first."""
    found = [path for path in visible_files(folder) if path.suffix in _HDF5]
    for ends in (("model",), ("weights",)):
        if len(found) > 1:
            found = [path for path in found if path.stem.endswith(ends)] or found
    if len(found) > 1 and not (folder / OPTIONS_NAME).is_file():
        return None
    return found[0] if found else None


def _index_beside(path: AnyPath) -> AnyPath:
    """The `.index` file to which a file of a checkpoint belongs."""
    return path.parent / f"{path.name.rsplit('.', 1)[0]}{INDEX_SUFFIX}"


def _partner(path: AnyPath, own: str, other: str, suffixes: tuple[str, ...]) -> AnyPath:
    """Find the file that belongs to `path`: `x_options.json` to `x_weights.hdf5`, or the only one that it can be."""
    candidates = [sibling for sibling in visible_files(path.parent) if sibling.suffix in suffixes and sibling.name != CONFIG_NAME]
    same_stem = [sibling for sibling in candidates if own in path.stem and sibling.stem == path.stem.replace(own, other)]
    exact = [sibling for sibling in candidates if sibling.stem == other]
    for choice in (same_stem, exact, [sibling for sibling in candidates if sibling.stem.endswith(other)], candidates):
        if len(choice) == 1:
            return choice[0]
    raise FormatError(f"{path}: expected one file *{other}{suffixes[0]} beside it, found {len(candidates)}")
