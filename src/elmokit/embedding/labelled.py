"""Files of labelled sentences, read record by record, each of which can be written back with other words in the old places.

    conll     a word with its labels on each line, columns parted by tabs or spaces; an empty line ends a sentence
    tsv, csv  a row for each text, its labels in other columns
    jsonl     an object for each text; the text is a string or a list of words
    text      one sentence a line

Nothing but the words replaced changes: in CSV and JSON lines no value, in all others no character. Lines end in a line
feed, whatever they ended in, and a byte order mark is dropped.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from elmokit.errors import FormatError
from elmokit.text.files import PACKED, read_lines
from elmokit.text.replacing import replace_tokens, stands_alone
from elmokit.text.tokenizers import Token, Tokenizer

Kind = Literal["conll", "text", "tsv", "csv", "jsonl"]
ENDINGS: Final[dict[str, Kind]] = {
    **dict.fromkeys((".conll", ".bio", ".iob", ".iob2"), "conll"),
    **{".txt": "text", ".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl"},
}
"""What a file is by the end of its name."""
_NO_LABEL = ("O", "_", "")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_FIELD = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a file has its words and labels."""

    kind: Kind | None = None
    """What the file is; None: by its name."""
    column: str | None = None
    """Of a table: the column of texts, its name or its number from 0 (−1: the last). In JSON lines: the key."""
    header: bool = True
    """Whether the first line of a TSV or CSV file names its columns."""
    token_column: int = 0
    """Of a CoNLL file: the column of words."""
    label_column: int = -1
    """Of a CoNLL file: the column of labels; a file of words alone has none."""
    replace_labelled: bool = False
    """Whether words that have a label (other than O and _) may be replaced."""

    def __post_init__(self) -> None:
        """Refuse an unknown kind.

        Raises:
            ValueError: Lists the known ones.
        """
        if self.kind is not None and self.kind not in get_args(Kind):
            raise ValueError(f"--format must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")

    def kind_of(self, path: str) -> Kind:
        """Say what a file is.

        Raises:
            ValueError: Neither the layout nor the name tells.
        """
        name = Path(path.lower())
        suffix = name.with_suffix("").suffix if name.suffix in PACKED else name.suffix
        kind = self.kind or ENDINGS.get(suffix)
        if kind is None:
            raise ValueError(
                f"{path}: its name does not tell what it is; known are {', '.join(ENDINGS)}, or say it with --format "
                f"({', '.join(get_args(Kind))})"
            )
        return kind


class Record(NamedTuple):
    """Lines of a file that belong together."""

    lines: str
    """As they stand there, each with its end."""
    tokens: list[Token] | None = None
    """The words of its sentence; None where there is no sentence: a header, a comment, an empty line."""
    allowed: Sequence[bool] = ()
    """Which of them may be replaced."""
    rewrite: Callable[[Mapping[int, str]], str] = lambda replaced: ""
    """Gives the lines with other words in some places."""
    labelled: int = 0
    """How many words may not be replaced because they have a label."""


def read_records(path: str, layout: Layout, tokenize: Tokenizer) -> Iterator[Record]:
    """Read a file, never the whole of it. The `lines` of all records are the file, with an end of its last sentence.

    `.gz`, `.xz` and `.zst` are unpacked on the way.

    Args:
        path: A file, or "-" for standard input.
        layout: Where it has its words and labels.
        tokenize: What cuts texts into words.

    Raises:
        ValueError: No such file or column, an unknown kind, or an option that is for files of another kind.
        FormatError: A line that is not UTF-8 or whose text is not where it should be; it is named.
    """
    kind = layout.kind_of(path)
    in_columns = kind in ("tsv", "csv", "jsonl")
    if in_columns and layout.column is None:
        raise ValueError(f"{path}: say with --column which {'key' if kind == 'jsonl' else 'column'} holds the texts")
    if not in_columns and layout.column is not None:
        raise ValueError(f"{path}: --column is for .tsv, .csv and .jsonl; a CoNLL file has --token-column")
    if kind != "conll" and (layout.token_column, layout.label_column, layout.replace_labelled) != (0, -1, False):
        raise ValueError(f"{path}: --token-column, --label-column and --replace-labelled are for CoNLL files")
    readers = {"conll": _conll, "text": _text, "tsv": _rows, "csv": _rows, "jsonl": _objects}
    lines = read_lines(path)  # its errors come first
    return readers[kind](path, lines, layout, tokenize)


def _cut(text: str, tokenize: Tokenizer) -> tuple[list[Token], list[bool]]:
    """Words of a text, and which may be replaced."""
    tokens = tokenize(text)
    return tokens, [stands_alone(text, token) for token in tokens]


def _text(path: str, lines: Iterator[str], layout: Layout, tokenize: Tokenizer) -> Iterator[Record]:
    for line in lines:
        tokens, allowed = _cut(line, tokenize)
        yield Record(line + "\n", tokens or None, allowed, partial(replace_tokens, line + "\n", tokens))


def _conll(path: str, lines: Iterator[str], layout: Layout, tokenize: Tokenizer) -> Iterator[Record]:
    block: list[tuple[int, str]] = []
    for number, line in chain(enumerate(lines, 1), [(0, "")]):  # the last sentence ends too, be there an empty line or not
        if line.strip():
            block.append((number, line))
        elif block:
            yield _sentence_of(path, block, line, layout)
            block = []
        elif number:
            yield Record(line + "\n")


def _sentence_of(path: str, block: list[tuple[int, str]], end: str, layout: Layout) -> Record:
    """One sentence of a CoNLL file, with the empty line at its end."""
    tokens: list[Token] = []
    allowed: list[bool] = []
    start = 0
    for number, line in block:
        if tokens or not _is_comment(line):
            (begin, stop), labelled = _word_of(f"{path}, line {number}", line, layout)
            tokens.append(Token(line[begin:stop], start + begin, start + stop))
            allowed.append(layout.replace_labelled or not labelled)
        start += len(line) + 1
    text = "".join(f"{line}\n" for _, line in [*block, (0, end)])
    return Record(text, tokens or None, allowed, partial(replace_tokens, text, tokens), allowed.count(False))


def _is_comment(line: str) -> bool:
    """Whether a line at a sentence's beginning holds no word (`# id = 1`). "#elmo O" counts too: it would never be replaced."""
    return (line.startswith("#") and "\t" not in line) or line.startswith("-DOCSTART-")


def _word_of(place: str, line: str, layout: Layout) -> tuple[tuple[int, int], bool]:
    """Where the word of a line stands, and whether it has a label."""
    if "\t" in line:
        fields = [found.span(1) for found in re.finditer(r"(?:^|\t)([^\t]*)", line)]
    else:
        fields = [found.span() for found in re.finditer("[^ ]+", line)]
    for option, column in (("--token-column", layout.token_column), ("--label-column", layout.label_column)):
        if not -len(fields) <= column < len(fields):
            raise FormatError(f"{place}: no column {column}, there are {len(fields)}, counted from 0; see {option}")
    begin, end = fields[layout.token_column]
    if begin == end:
        raise FormatError(f"{place}: no word in column {layout.token_column}; see --token-column")
    label = slice(*fields[layout.label_column])
    return (begin, end), label.start != begin and line[label] not in _NO_LABEL


def _rows(path: str, lines: Iterator[str], layout: Layout, tokenize: Tokenizer) -> Iterator[Record]:
    form = _Tsv() if layout.kind_of(path) == "tsv" else _Csv()
    column: int | None = None
    line = 1
    for raw, row in form.rows(path, lines):
        if column is None:
            column = _find(path, layout, row)
        if (layout.header and line == 1) or row in ([], [""]):
            yield Record(raw)
        elif -len(row) <= column < len(row):
            tokens, allowed = _cut(row[column], tokenize)
            yield Record(raw, tokens, allowed, partial(_other_row, form, row, column, tokens))
        else:
            raise FormatError(f"{path}, line {line}: {len(row)} columns, so none of number {column}, counted from 0")
        line += raw.count("\n")


def _find(path: str, layout: Layout, first: list[str]) -> int:
    """The number of the column of texts, by the first row."""
    assert layout.column is not None
    if layout.header and layout.column in first:
        return first.index(layout.column)
    if re.fullmatch("-?[0-9]+", layout.column) and -len(first) <= int(layout.column) < len(first):
        return int(layout.column)
    if not layout.header:
        raise ValueError(f"{path}: no column {layout.column}; without a header --column is a number, 0 to {len(first) - 1}")
    raise ValueError(f"{path}: no column {layout.column!r}; there are {', '.join(first)}")


def _other_row(form: "_Tsv | _Csv", row: list[str], column: int, tokens: list[Token], replaced: Mapping[int, str]) -> str:
    """A row with other words in its text."""
    other = list(row)
    other[column] = replace_tokens(row[column], tokens, replaced)
    return form.line(other)


class _Tsv:
    """Columns parted by tabs; a quotation mark is a character like any other."""

    def rows(self, path: str, lines: Iterator[str]) -> Iterator[tuple[str, list[str]]]:
        """Each row as it stands in the file, and its columns."""
        return ((line + "\n", line.split("\t")) for line in lines)

    def line(self, row: list[str]) -> str:
        """Write a row."""
        return "\t".join(row) + "\n"


class _Csv:
    """Columns parted by commas; a field in quotation marks may go on over several lines."""

    def rows(self, path: str, lines: Iterator[str]) -> Iterator[tuple[str, list[str]]]:
        """Each row as it stands in the file, and its columns."""
        csv.field_size_limit(_LONGEST_FIELD)  # by default a text of more than 131,072 characters would be refused
        raw: list[str] = []

        def remembered() -> Iterator[str]:
            for line in lines:
                raw.append(line + "\n")
                yield raw[-1]

        reader = csv.reader(remembered(), strict=True)
        try:
            for row in reader:
                yield "".join(raw), row
                raw.clear()
        except csv.Error as error:
            raise FormatError(f"{path}, line {reader.line_num}: {error}") from error

    def line(self, row: list[str]) -> str:
        """Write a row."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerow(row)
        return file.getvalue()


def _objects(path: str, lines: Iterator[str], layout: Layout, tokenize: Tokenizer) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield Record(line + "\n")
            continue
        record, value = _object(f"{path}, line {number}", line, str(layout.column))
        tokens, allowed = _cut(value, tokenize) if isinstance(value, str) else _listed(value)
        yield Record(line + "\n", tokens, allowed, partial(_other_object, record, str(layout.column), tokens))


def _object(place: str, line: str, key: str) -> tuple[dict[str, Any], str | list[str]]:
    """The object of a line, and its text."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise FormatError(f"{place}: not JSON ({error.msg}); expected one object a line") from error
    if not isinstance(record, dict):
        raise FormatError(f"{place}: expected a JSON object, found {type(record).__name__}")
    if key not in record:
        raise FormatError(f"{place}: no key {key!r}; there are {', '.join(record) or 'none'}")
    value = record[key]
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(word, str) for word in value)):
        raise FormatError(f"{place}: the text is {value!r:.40}, expected a string or a list of words")
    if _SURROGATE.search("".join(value)):
        raise FormatError(f"{place}: half of a surrogate pair, which no file of UTF-8 can hold")
    return record, value


def _listed(words: list[str]) -> tuple[list[Token], list[bool]]:
    """Words that were given one by one; they stand in no text."""
    return [Token(word, 0, len(word)) for word in words], [True] * len(words)


def _other_object(record: dict[str, Any], key: str, tokens: list[Token], replaced: Mapping[int, str]) -> str:
    """An object with other words in its text."""
    value: str | list[str]
    if isinstance(record[key], str):
        value = replace_tokens(record[key], tokens, replaced)
    else:
        value = [replaced.get(place, token.text) for place, token in enumerate(tokens)]
    other = {**record, key: value}
    line = json.dumps(other, ensure_ascii=False)
    return (json.dumps(other) if _SURROGATE.search(line) else line) + "\n"  # in other values it may stand, as an escape
