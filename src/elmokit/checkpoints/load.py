"""One door to all formats: a name or a path → a `Checkpoint`."""

import os
from importlib.resources import files
from pathlib import Path

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.fetch import Source, locate, with_facts
from elmokit.checkpoints.folder import CONFIG_NAME
from elmokit.checkpoints.formats import load_path
from elmokit.checkpoints.tf_bundle import INDEX_SUFFIX


def load_checkpoint(name_or_path: str | Path, source: Source | None = None) -> Checkpoint:
    """Read a model of any known format; fetch it first if it is a published one or on the Hub, and not here yet.

    Args:
        name_or_path: The name of a bundled model (see `bundled_names`; `./name` is a folder of your own), a model folder,
            folder, archive or file of any published format (`formats.py`); else the name or address of a
            published model (`registry.py`), or a model of the Hub (`owner/name`). What exists as a path is taken as one.
        source: How a model that is not here may be had.

    Raises:
        ValueError: There is no such model or file, or it cannot be had.
        FormatError: What stands there is damaged or of no known format.
    """
    checkpoint = load_path(resolve_path(name_or_path, source))
    return checkpoint if is_here(name_or_path) else with_facts(checkpoint, _name(name_or_path))


def resolve_path(name_or_path: str | Path, source: Source | None = None) -> Path:
    """Find the file or folder that a name stands for; what is not here is fetched if the name says from where.

    Raises:
        ValueError: There is no such model, file or folder (names those that ship), or it cannot be had.
    """
    source = source or Source()
    name = _name(name_or_path)
    bundled = name in bundled_names()
    if bundled or is_here(name_or_path):
        if source.revision is not None:
            raise ValueError(f"revision is for models of the Hub, and {name} is on this machine; leave it out")
        return _bundled() / name if bundled else _existing(name_or_path) or Path(name_or_path)
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


def is_here(name_or_path: str | Path) -> bool:
    """Whether it is a path of something."""
    return _existing(name_or_path) is not None


def _existing(name_or_path: str | Path) -> Path | None:
    """The path, if something is there: as it stands, or with ".index", for TensorFlow names a checkpoint without it."""
    if not str(name_or_path):
        return None
    path = Path(name_or_path).expanduser()
    paths = (path, path.with_name(path.name + INDEX_SUFFIX)) if path.name else (path,)
    return next((found for found in paths if os.path.exists(found)), None)  # noqa: PTH110 - Path.exists raises for long addresses


def _name(name_or_path: str | Path) -> str:
    """A name as it was meant, be it given as a path: with slashes on Windows too."""
    return name_or_path.as_posix() if isinstance(name_or_path, Path) else name_or_path
