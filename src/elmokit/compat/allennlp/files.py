"""Where AllenNLP's arguments `options_file` and `weight_file` lead."""

from pathlib import Path

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.fetch import fetch_published_file
from elmokit.checkpoints.hdf5 import load_hdf5


def read_checkpoint(options_file: str | Path, weight_file: str | Path) -> Checkpoint:
    """Read a model from its two files.

    Args:
        options_file: `options.json`: a path, or an address. Both forms of AllenNLP's addresses lead to its published models,
            which are fetched once and kept; the environment variable ELMOKIT_MIRROR names a folder to take them from.
        weight_file: The HDF5 file: a path, or an address.

    Raises:
        ValueError: A file cannot be read or fetched.
        FormatError: A file is damaged.
    """
    return load_hdf5(_local(options_file), _local(weight_file))


def _local(place: str | Path) -> Path:
    """Give the file itself, fetched before if `place` is an address."""
    return fetch_published_file(str(place)) if str(place).startswith(("http://", "https://", "s3://")) else Path(place)
