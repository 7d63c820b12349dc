"""What the formats share: reading JSON that may be anything, and replacing no folder that holds something else."""

import json
from pathlib import Path
from typing import Any

from elmokit.checkpoints.packed import AnyPath
from elmokit.errors import FormatError


def read_json(path: AnyPath) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: There is no such file or it cannot be read.
        FormatError: The file and the place where it is not JSON.
    """
    try:
        data = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}, line {error.lineno}: not JSON ({error.msg}); is the file damaged or cut short?") from error
    except FormatError:  # it lies in an archive, and is damaged there
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON ({error})") from error
    if not isinstance(data, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data


def refuse_other_contents(folder: Path, known: set[str]) -> None:
    """Make sure that replacing `folder` loses nothing but files of the names known.

    Raises:
        ValueError: The folder and what it holds.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file, expected a folder to write the model into")
    others = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.exists() else []
    if others:
        raise ValueError(f"{folder}: holds other things ({', '.join(others[:3])}) that would be lost; give a new or empty folder")
