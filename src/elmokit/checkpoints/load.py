"""One door to all formats: a name or a path → a `Checkpoint`."""

import os
from importlib.resources import files
from pathlib import Path

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.fetch import Source, locate, with_facts
from elmokit.checkpoints.folder import CONFIG_NAME, load_folder
from elmokit.checkpoints.hdf5 import OPTIONS_NAME, load_hdf5
from elmokit.errors import FormatError

_HDF5 = (".hdf5", ".h5")
_TENSORFLOW = (".index", ".meta")
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z")


def load_checkpoint(name_or_path: str | Path, source: Source | None = None) -> Checkpoint:
    """Read a model of any known format; fetch it first if it is a published one or on the Hub, and not here yet.

    Args:
        name_or_path: The name of a bundled model (see `bundled_names`; `./name` is a folder of your own), a model folder,
            a folder with `options.json` and one HDF5 file, or either of these two files; else the name or address of a
            published model (`registry.py`), or a model of the Hub (`owner/name`). What exists as a path is taken as one.
        source: How a model that is not here may be had.

    Raises:
        ValueError: There is no such model or file, or it cannot be had.
        FormatError: What stands there is damaged or of no known format.
    """
    checkpoint = load_path(resolve_path(name_or_path, source))
    return checkpoint if _is_here(name_or_path) else with_facts(checkpoint, _name(name_or_path))


def load_path(path: Path) -> Checkpoint:
    """Read a model from a file or folder of any known format.

    Raises:
        FormatError: What stands there is damaged or of no known format.
    """
    if path.is_dir():
        return _load_from_folder(path)
    if path.suffix in _HDF5:
        return load_hdf5(_partner(path, "weights", "options", (".json",)), path)
    if path.name == CONFIG_NAME or path.suffix == ".safetensors":
        return load_folder(path.parent)
    if path.suffix == ".json":
        return load_hdf5(path, _partner(path, "options", "weights", _HDF5))
    if path.suffix in _PACKED:
        raise FormatError(f"{path}: packed models are not supported yet by this version; unpack it and give the folder")
    if path.suffix in _TENSORFLOW or path.name == "checkpoint":
        raise FormatError(_tensorflow(path))
    raise FormatError(f"{path}: no known model format; expected a model folder, or options.json with an HDF5 file of weights")


def resolve_path(name_or_path: str | Path, source: Source | None = None) -> Path:
    """Find the file or folder that a name stands for; what is not here is fetched if the name says from where.

    Raises:
        ValueError: There is no such model, file or folder (names those that ship), or it cannot be had.
    """
    source = source or Source()
    name = _name(name_or_path)
    bundled = name in bundled_names()
    if bundled or _is_here(name_or_path):
        if source.revision is not None:
            raise ValueError(f"revision is for models of the Hub, and {name} is on this machine; leave it out")
        return _bundled() / name if bundled else Path(name_or_path).expanduser()
    located = locate(name, source)
    if located is None:
        raise ValueError(_unknown(name))
    return located


def bundled_names() -> list[str]:
    """Give the names of the models that ship with the package."""
    folder = _bundled()
    return sorted(path.name for path in folder.iterdir() if (path / CONFIG_NAME).is_file()) if folder.is_dir() else []


def _bundled() -> Path:
    """The folder of the models that ship; a package is installed as plain files."""
    return Path(str(files("elmokit"))) / "bundled"


def _unknown(name: str) -> str:
    """Say that nothing is found under this name, and what is."""
    known = f"bundled models: {', '.join(bundled_names()) or 'none'}; `elmo models` lists the published ones"
    return f"{name}: no such model, file or folder ({known})"


def _is_here(name_or_path: str | Path) -> bool:
    """Whether it is a path of something; an address may be longer than any path may be, which `Path.exists` would not bear."""
    return os.path.exists(Path(name_or_path).expanduser())  # noqa: PTH110  # see above


def _name(name_or_path: str | Path) -> str:
    """A name as it was meant, be it given as a path: with slashes on Windows too."""
    return name_or_path.as_posix() if isinstance(name_or_path, Path) else name_or_path


def _load_from_folder(folder: Path) -> Checkpoint:
    """Choose by the files that a folder holds."""
    if (folder / "char.dic").exists() or (folder / "word.dic").exists():
        raise FormatError(f"{folder}: models of ELMoForManyLangs are not supported yet by this version")
    if (folder / CONFIG_NAME).exists():
        return load_folder(folder)
    weights = [path for path in _visible(folder) if path.suffix in _HDF5]
    if len(weights) > 1:
        weights = [path for path in weights if path.stem.endswith("weights")]
    if not weights and any(path.suffix in _TENSORFLOW for path in _visible(folder)):
        raise FormatError(_tensorflow(folder))
    options = folder / OPTIONS_NAME
    if len(weights) == 1:
        return load_hdf5(options if options.exists() else _partner(weights[0], "weights", "options", (".json",)), weights[0])
    found = "one HDF5 file of weights" if options.exists() else f"{CONFIG_NAME}, or {OPTIONS_NAME} and one HDF5 file of weights"
    names = ", ".join(path.name for path in _visible(folder)[:5]) or "nothing"
    raise FormatError(f"{folder}: no model folder; missing is {found}; found {names}")


def _tensorflow(path: Path) -> str:
    """Say that bilm-tf's own files are not read."""
    return (
        f"{path}: TensorFlow checkpoints are not supported yet by this version; "
        "write the weights as HDF5 with bilm-tf's bin/dump_weights.py, and give the folder with options.json"
    )


def _partner(path: Path, own: str, other: str, suffixes: tuple[str, ...]) -> Path:
    """Find the file that belongs to `path`: `x_options.json` to `x_weights.hdf5`, or the only one that it can be."""
    candidates = [sibling for sibling in _visible(path.parent) if sibling.suffix in suffixes and sibling.name != CONFIG_NAME]
    same_stem = [sibling for sibling in candidates if own in path.stem and sibling.stem == path.stem.replace(own, other)]
    exact = [sibling for sibling in candidates if sibling.stem == other]
    for choice in (same_stem, exact, [sibling for sibling in candidates if sibling.stem.endswith(other)], candidates):
        if len(choice) == 1:
            return choice[0]
    raise FormatError(f"{path}: expected one file *{other}{suffixes[0]} beside it, found {len(candidates)}")


def _visible(folder: Path) -> list[Path]:
    """The files of a folder but hidden ones, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
