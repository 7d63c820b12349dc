"""Where vectors go: one file, or a folder of finished parts. All that can be wrong with it is found before any work."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from elmokit.embedding.h5 import open_h5
from elmokit.embedding.jsonl import open_jsonl
from elmokit.embedding.output import OpenWriter
from elmokit.embedding.parquet import need_pyarrow, open_parquet

FORMATS: dict[str, OpenWriter] = {"h5": open_h5, "parquet": open_parquet, "jsonl": open_jsonl}
"""The known formats by their suffix, which has a dot in front."""
_NAMES = ", ".join(f".{name}" for name in FORMATS)


def check_target(target: Path, source: str, format: str | None, resume: bool) -> str:
    """Give the name of the target's format.

    Args:
        target: A file with the suffix of a format, or with `format` a folder for parts.
        source: The input, which must be another file.
        format: The format of the parts, if there shall be parts.
        resume: Whether parts may be there.

    Raises:
        ValueError: The format is unknown, the target is the input, in use, of the wrong kind, or cannot be written.
        MissingExtraError: The format needs a library that is not installed.
    """
    suffix = target.suffix.lower().removeprefix(".")
    if format is None:
        _check_file(target, suffix, resume)
    else:
        _check_folder(target, suffix, format, resume)
    _check_other(target, source)
    _check_writable(target)
    if (format or suffix) == "parquet":
        need_pyarrow()
    return format or suffix


def check_plain_target(target: Path, sources: Iterable[str]) -> None:
    """Refuse a file that cannot be written, or should not.

    Args:
        target: One file, of any name.
        sources: The inputs, which must be other files.

    Raises:
        ValueError: The target is a folder or an input, or cannot be written.
    """
    if target.is_dir():
        raise ValueError(f"{target}: is a folder; name a file for the output")
    for source in sources:
        _check_other(target, source)
    _check_writable(target)


def _check_file(target: Path, suffix: str, resume: bool) -> None:
    if target.is_dir():
        raise ValueError(f"{target}: is a folder; give a format of {', '.join(FORMATS)} with --format to write parts into it")
    if suffix not in FORMATS:
        raise ValueError(f"{target}: unknown extension; the output ends in {_NAMES}, or is a folder with --format")
    if resume:
        raise ValueError("--resume goes on with a folder of parts; name the folder, and its format with --format")


def _check_folder(target: Path, suffix: str, format: str, resume: bool) -> None:
    if format not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}, not {format!r}")
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target}: is a file; with --format the output is a folder")
    if suffix in FORMATS and not target.exists():
        raise ValueError(f"{target}: a name of a file; with --format the output is a folder, without it this one file")
    if target.is_dir() and not resume and any(target.iterdir()):
        raise ValueError(f"{target}: the folder is not empty; go on in it with --resume, or name a new one")


def _check_other(target: Path, source: str) -> None:
    """Refuse to write over the input."""
    if source != "-" and target.exists() and Path(source).exists() and target.samefile(source):
        raise ValueError(f"{target}: is the input; name another file for the output")


def _check_writable(target: Path) -> None:
    """Refuse a place that cannot be written, or should not: root may write where a mode says "read-only"."""
    place = target
    while not place.exists():
        place = place.parent
    if not place.is_dir() and place != target:
        raise ValueError(f"{target}: {place} is a file, not a folder")
    for path in (place, place.parent) if place == target and not target.is_dir() else (place,):
        if not os.access(path, os.W_OK) or not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError(f"{target}: cannot be written, {path} is read-only; choose another place")
