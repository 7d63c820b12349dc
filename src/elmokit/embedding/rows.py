"""Files of texts → rows, read one after the other: lines, or one column of a table."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from elmokit.errors import FormatError, MissingExtraError
from elmokit.text.files import PACKED, read_lines

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Suffixes of files in which the texts are a column; any other file holds one text a line."""
_LONGEST_FIELD = 2**31 - 1
_ROWS_AT_ONCE = 1024


class Row(NamedTuple):
    """One text of a file."""

    number: int
    """Its place among the file's texts, from 0."""
    id: Any
    """What its id column says; None where there is none."""
    text: str
    """The text."""


def read_rows(path: str | Path, column: str | None = None, id_column: str | None = None) -> Iterator[Row]:
    """Read texts, never the whole file.

    In `.csv` and `.tsv` the first line names the columns; in `.tsv` a quotation mark is a character like any other.
    `.gz`, `.xz` and `.zst` are unpacked on the way (but for `.parquet`).

    Args:
        path: A file, or "-" for lines of standard input.
        column: The column of texts, if it is a table.
        id_column: A column to keep beside them.

    Raises:
        ValueError: No such file or column, or a column is named where there are none, or not named where there are.
        FormatError: A line that is not UTF-8, a row that is damaged or whose text is no string; it is named.
        MissingExtraError: `.parquet` or `.zst` without its library.
    """
    kind = table_kind(path)
    if kind is None:
        lines = read_lines(path)  # its errors come first
        if column is not None or id_column is not None:
            raise ValueError(f"{path}: --column and --id-column are for {', '.join(TABLES)}; this is read as one text a line")
        return (Row(number, None, line) for number, line in enumerate(lines))
    if column is None:
        raise ValueError(f"{path}: say with --column which column holds the texts")
    wanted = [column] if id_column is None else [column, id_column]
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    return _checked(path, readers[kind](path, wanted))


def table_kind(path: str | Path) -> str | None:
    """Give the suffix of a table, without that of its packing; None for lines of text."""
    path = Path(path)
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return name.suffix.lower() if name.suffix.lower() in TABLES else None


Values = Iterator[tuple[str, list[Any]]]
"""Where a row stands, for messages, and its values of the wanted columns."""


def _checked(path: str | Path, values: Values) -> Iterator[Row]:
    """Number the rows, and see that their texts are texts."""
    for number, (place, row) in enumerate(values):
        text, *rest = row
        if not isinstance(text, str):
            raise FormatError(f"{path}, {place}: the text is {text!r:.40}, expected a string")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise FormatError(f"{path}, {place}: half of a surrogate pair, which no file of UTF-8 can hold") from error
        yield Row(number, rest[0] if rest else None, text)


def _csv_rows(path: str | Path, wanted: list[str]) -> Values:
    csv.field_size_limit(_LONGEST_FIELD)  # by default a text of more than 131,072 characters would be refused
    options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if table_kind(path) == ".tsv" else {"strict": True}
    reader = csv.reader((line + "\n" for line in read_lines(path)), **options)
    try:
        names = next(reader, [])
        places = [_find(path, name, names) for name in wanted]
        for row in reader:
            if row:
                place = f"line {reader.line_num}"
                if len(row) <= max(places):
                    raise FormatError(f"{path}, {place}: {len(row)} columns, expected {len(names)} as in the first line")
                yield place, [row[place] for place in places]
    except csv.Error as error:
        raise FormatError(f"{path}, line {reader.line_num}: {error}") from error


def _find(path: str | Path, name: str, names: Iterable[str]) -> int:
    """The place of a column."""
    known = list(names)
    if name not in known:
        raise ValueError(f"{path}: no column {name!r}; there are {', '.join(known) or 'none'}")
    return known.index(name)


def _jsonl_rows(path: str | Path, wanted: list[str]) -> Values:
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise FormatError(f"{path}, {place}: not JSON ({error.msg}); expected one object a line") from error
        if not isinstance(record, dict):
            raise FormatError(f"{path}, {place}: expected a JSON object, found {type(record).__name__}")
        for name in wanted:
            if name not in record:
                raise FormatError(f"{path}, {place}: no key {name!r}; there are {', '.join(record) or 'none'}")
        yield place, [record[name] for name in wanted]


def _parquet_rows(path: str | Path, wanted: list[str]) -> Values:
    try:
        import pyarrow.lib
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(f"{path}: reading .parquet", "parquet") from error
    read_lines(path)  # refuses a missing file or a folder, in the words it has for them
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for name in wanted:
                _find(path, name, file.schema_arrow.names)
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(dict.fromkeys(wanted))):
                for values in zip(*(batch.column(name).to_pylist() for name in wanted), strict=True):
                    yield f"row {number}", list(values)
                    number += 1
    except (pyarrow.lib.ArrowException, OSError) as error:
        raise FormatError(f"{path}: damaged or no parquet file ({error})") from error
