"""`char.dic` and `word.dic` of ELMoForManyLangs: a line `entry<TAB>id` for each row of a table.

Their program strips each line of white space before it looks for the tab, so that the line of an entry that is itself
white space has nothing left but its id: it takes all such lines for U+3000, the ideographic space. So do we.
"""

from typing import Final

from elmokit.checkpoints.packed import AnyPath
from elmokit.errors import FormatError

SPACE: Final = "\u3000"


def load_dictionary(path: AnyPath, rows: int) -> dict[str, int]:
    """Read a dictionary; of equal entries the last one counts.

    Args:
        path: The file.
        rows: How many rows the table has; every id must be below.

    Raises:
        ValueError: The file cannot be read.
        FormatError: The file and the line that is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_dictionary(data, rows, str(path))


def parse_dictionary(data: bytes, rows: int, origin: str) -> dict[str, int]:
    """Read a dictionary from the bytes of a file; see `load_dictionary`."""
    ids: dict[str, int] = {}
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), 1):
        try:
            *entry, id_text = line.decode("utf-8").strip().split("\t")
        except UnicodeDecodeError as error:
            raise FormatError(f"{origin}, line {number}: not UTF-8") from error
        is_number = id_text.isascii() and id_text.isdecimal() and len(id_text) < 10
        if len(entry) > 1 or not is_number or int(id_text) >= rows:
            found = line.decode("utf-8").strip()
            raise FormatError(f"{origin}, line {number}: {found!r:.80}, expected an entry, a tab and an id from 0 to {rows - 1}")
        ids[entry[0] if entry else SPACE] = int(id_text)
    return ids


def dictionary_bytes(ids: dict[str, int], name: str) -> bytes:
    """Give the bytes of a dictionary, sorted by id.

    Raises:
        ValueError: An entry that no line can hold.
    """
    lines: list[bytes] = []
    for entry, number in sorted(ids.items(), key=lambda item: item[1]):
        try:
            lines.append(f"{entry}\t{number}\n".encode())
            held = parse_dictionary(lines[-1], number + 1, name) == {entry: number}
        except ValueError:  # a tab, a line break, a lone surrogate
            held = False
        if not held:
            raise ValueError(f"{name} cannot hold the entry {entry!r:.80}")
    return b"".join(lines)
