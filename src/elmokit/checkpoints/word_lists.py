"""Lists of words beside a model: text files that are part of no format, found by their names and their sizes.

As bilm-tf reads them: UTF-8, one word a line, white space at both ends dropped, the line `!!!MAXTERMID` skipped, `<S>`,
`</S>` and `<UNK>` anywhere. A line's number, from 0, is its word's row in the model; of equal lines the last one counts.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from elmokit.atomic import atomic_path
from elmokit.checkpoints.packed import AnyPath, visible_files
from elmokit.errors import FormatError
from elmokit.text.tables import WordTable
from elmokit.text.vocabulary import SPECIAL_WORDS

_SKIPPED = "!!!MAXTERMID"
_LONGEST = 1000
"""Bytes of a word on the average, above which a packed file is no list of words."""
_EXPANSION = 20
"""By which factor words may get smaller when they are packed; usual is a third."""
_CHUNK = 2**16


def find_words(folder: AnyPath, size: int) -> tuple[list[str], AnyPath] | None:
    """Look for a list of `size` words: `vocab.txt`, or another file with vocab in its name; each may be packed (`.gz`).

    Returns:
        The words by their rows, and the file; None if there is none of that size.
    """
    for path in _candidates(folder):
        words = _words(path, size)
        if words is not None and len(words) == size:
            return words, path
    return None


def load_input_words(weights_path: AnyPath, size: int) -> WordTable:
    """Find out which row of a weight file's table of words is whose.

    Args:
        weights_path: The weight file; the list lies beside it.
        size: Rows of the table.

    Raises:
        FormatError: There is no such list, or a mark is missing in it.
    """
    found = find_words(weights_path.parent, size)
    if found is None:
        raise FormatError(
            f"{weights_path}: this model reads whole words; expected their list beside it: vocab.txt, or another name with "
            f"vocab in it (.txt, .txt.gz), with {size:,} lines"
        )
    words, path = found
    try:
        return WordTable({word: row for row, word in enumerate(words)})
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def save_input_words(table: WordTable, size: int, path: Path) -> None:
    """Write a list that `load_input_words` reads as the same table.

    Raises:
        ValueError: A row has no word, or one that no line can hold.
    """
    words: list[str | None] = [None] * size
    for word, row in table.ids.items():
        if words[row] is not None or "\n" in word or word != word.strip() or word == _SKIPPED:
            raise ValueError(f"{path.name} cannot hold the word {word!r:.80} of row {row}")
        words[row] = word
    if None in words or table.marks != SPECIAL_WORDS or table.longest is not None:
        what = f"row {words.index(None)} has no word" if None in words else "its marks or its cutting of words are others"
        raise ValueError(f"{path.name} cannot hold this model's table of words: {what}")
    with atomic_path(path) as temporary:
        temporary.write_bytes("".join(f"{word}\n" for word in words).encode("utf-8", "surrogatepass"))


def _candidates(folder: AnyPath) -> Iterator[AnyPath]:
    """Files that may be a list of words, by their names."""
    with suppress(OSError):  # a folder may be closed to us
        for path in visible_files(folder):
            if "vocab" in path.name.lower() and path.name.lower().removesuffix(".gz").endswith((".txt", ".vocab", "vocab")):
                yield path


def _words(path: AnyPath, size: int) -> list[str] | None:
    """The words of a file, or None if it holds no text."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            unpacked = _unpacked(data, _LONGEST * (size + 1), path)
            if unpacked is None:
                return None
            data = unpacked
        text = data.decode("utf-8", "surrogatepass").removeprefix("\ufeff")
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile):
        return None
    lines = text.removesuffix("\n").split("\n")
    return [word for word in (line.strip() for line in lines) if word != _SKIPPED]


def _unpacked(data: bytes, most: int, path: AnyPath) -> bytes | None:
    """Unpack a file, piece by piece: `most` is what another file says. None if there are so many bytes or more.

    Raises:
        FormatError: It unpacks to more than words can.
    """
    unpacked = bytearray()
    with gzip.GzipFile(fileobj=BytesIO(data)) as file:
        while len(unpacked) < most and (chunk := file.read(_CHUNK)):
            unpacked += chunk
            if len(unpacked) > _EXPANSION * len(data) + _CHUNK:
                raise FormatError(f"{path}: unpacks to more than {_EXPANSION} times its size, as no list of words does")
    return bytes(unpacked) if len(unpacked) < most else None
