"""A folder of finished parts: `part-00000.parquet`, `part-00001.parquet`, …, and `manifest.json`, which says of what.

A part appears under its name when it is complete. So a run that was stopped makes the parts that are not there.
"""

import json
from collections import deque
from collections.abc import Iterator
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from elmokit.atomic import atomic_path
from elmokit.embedding.rows import Row
from elmokit.errors import FormatError

MANIFEST = "manifest.json"


def open_parts(folder: Path, settings: dict[str, Any], format: str) -> int:
    """Begin a folder of parts, or see what is done in one.

    Args:
        folder: A new, empty or begun folder.
        settings: All that the parts' contents depend on.
        format: The parts' suffix.

    Returns:
        How many parts are finished.

    Raises:
        ValueError: The folder was begun with other settings; names the first.
        FormatError: Its manifest is damaged.
    """
    manifest = folder / MANIFEST
    folder.mkdir(parents=True, exist_ok=True)
    if not manifest.exists():
        if any(folder.iterdir()):
            raise ValueError(f"{folder}: holds files but no {MANIFEST}, so it cannot be resumed; name a new folder")
        _write(manifest, settings)
        return 0
    try:
        begun = json.loads(manifest.read_text(encoding="utf-8"))
        different = [name for name in settings if begun[name] != settings[name]]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{manifest}: damaged; name a new folder") from error
    if different:
        name = different[0]
        raise ValueError(
            f"{folder}: was begun with {name} {begun[name]!r}, not {settings[name]!r}; --resume with the same input and options, "
            "or name a new folder"
        )
    for begun_part in folder.glob(".*.part-*"):  # of a run that was killed
        begun_part.unlink()
    return sum(1 for _ in folder.glob(f"part-*.{format}"))


def parts_left(folder: Path, format: str, rows: Iterator[Row], part_rows: int) -> Iterator[tuple[Path, Iterator[Row]]]:
    """Give the path and the rows of each part that is not there.

    Args:
        folder: Where.
        format: The parts' suffix.
        rows: All rows of the input. A part's own must be used up before the next part is asked for.
        part_rows: Rows of a part.
    """
    for number in count():
        part = islice(rows, part_rows)
        first = next(part, None)
        if first is None:
            return
        path = part_path(folder, number, format)
        if path.exists():
            deque(part, maxlen=0)  # they are done
        else:
            yield path, chain([first], part)


def part_path(folder: Path, number: int, format: str) -> Path:
    """Name a part."""
    return folder / f"part-{number:05d}.{format}"


def _write(path: Path, settings: dict[str, Any]) -> None:
    """Write the manifest."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
