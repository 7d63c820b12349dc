"""The tables of words and of characters that came with a model, as files of its folder.

JSON, since published dictionaries hold entries that no line of a text file can (a tab, a lone carriage return, white
space alone), and ids in any order:

    {"marks": ["<S>", "</S>", "<UNK>"], "longest": null, "ids": {"<S>": 0, …}}
"""

import json
from pathlib import Path
from typing import Any

from elmokit.checkpoints.files import read_json
from elmokit.checkpoints.packed import AnyPath
from elmokit.errors import FormatError
from elmokit.text.tables import CharacterTable, WordTable


def save_words(table: WordTable, path: Path) -> None:
    """Write a table of words."""
    _write({"marks": list(table.marks), "longest": table.longest, "ids": dict(table.ids)}, path)


def save_characters(table: CharacterTable, path: Path) -> None:
    """Write a table of code points; how many a word may have is said in `config.json`."""
    _write({"ids": dict(table.ids)}, path)


def load_words(path: AnyPath, rows: int) -> WordTable:
    """Read a table of words.

    Args:
        path: The file.
        rows: How many word vectors the model has; every id must be below.

    Raises:
        ValueError: The file cannot be read.
        FormatError: The file and the key or entry that is wrong.
    """
    data = read_json(path)
    marks, longest = data.get("marks"), data.get("longest")
    if not isinstance(marks, list) or len(marks) != 3 or not all(isinstance(mark, str) for mark in marks):
        raise FormatError(f"{path}: key marks is {marks!r:.80}, expected three words, for <S>, </S> and unknown words")
    if longest is not None and (type(longest) is not int or longest < 1):
        raise FormatError(f"{path}: key longest is {longest!r:.80}, expected a whole number above 0, or null")
    ids = checked_ids(data.get("ids"), rows, path)
    try:
        return WordTable(ids, (marks[0], marks[1], marks[2]), longest)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def load_characters(path: AnyPath, rows: int, max_characters: int) -> CharacterTable:
    """Read a table of code points.

    Args:
        path: The file.
        rows: How many character vectors the model has; every id must be below.
        max_characters: Places for a word.

    Raises:
        ValueError: The file cannot be read.
        FormatError: The file and the key or entry that is wrong.
    """
    ids = checked_ids(read_json(path).get("ids"), rows, path)
    try:
        return CharacterTable(ids, max_characters)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def checked_ids(ids: object, rows: int, path: AnyPath) -> dict[str, int]:
    """Make sure that these are entries with ids that the model has rows for.

    Raises:
        FormatError: `path` and the first entry that is wrong.
    """
    if not isinstance(ids, dict):
        raise FormatError(f"{path}: key ids must be an object of entries with their ids")
    for entry, number in ids.items():
        if type(number) is not int or not 0 <= number < rows:
            raise FormatError(f"{path}: the id of {entry!r:.80} is {number!r:.80}, expected a whole number from 0 to {rows - 1}")
    return ids


def _write(data: dict[str, Any], path: Path) -> None:
    """Write JSON in ASCII: a lone surrogate may be an entry."""
    path.write_text(json.dumps(data, indent=0) + "\n", encoding="ascii")
