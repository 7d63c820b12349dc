"""Text files, standard input or a data set of the Hub → documents of tokenized sentences."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from elmokit.checksum import checksum
from elmokit.config import TextConfig
from elmokit.errors import FormatError
from elmokit.pretraining.hub_data import HUB, HubData
from elmokit.text.files import Errors, ReadCounts, expand_paths, read_lines
from elmokit.text.normalize import normalize
from elmokit.text.sentences import split_sentences
from elmokit.text.tokenizers import Token, get_tokenizer

Layout = Literal["lines", "running"]
Document = list[list[str]]
"""Sentences of words."""
DEFAULT_LANGUAGE = "en"
DOCUMENT_LINES = 20
"""Where no empty line ends a document before, it ends after so many lines."""
LONGEST_LINE = 1 << 20
"""Bytes; a longer line is read in pieces, so that memory does not depend on it."""


class Unit(Protocol):
    """What is read from its beginning to its end: a file, or a data set."""

    @property
    def name(self) -> str:
        """Its name for messages."""

    def documents(self, start: int, counts: ReadCounts, errors: Errors) -> Iterator[tuple[list[str], int]]:
        """Give the lines of each document that has any text, and the place at which the next one begins.

        Args:
            start: A place given before; 0 is the beginning. What comes before it is counted again, and not given.
            counts: Where lines are counted.
            errors: Whether what is damaged or not UTF-8 is left out ("skip") or an error ("strict").
        """


@dataclass(frozen=True)
class FileUnit:
    """A file; places are its lines."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def documents(self, start: int, counts: ReadCounts, errors: Errors) -> Iterator[tuple[list[str], int]]:
        """Cut at empty lines and after `DOCUMENT_LINES` lines; see `Unit`."""
        document: list[str] = []
        number = 0
        for number, line in enumerate(self._lines(errors, counts)):
            if number < start:
                continue
            blank = not line.strip()
            if document and (blank or len(document) >= DOCUMENT_LINES):
                yield document, number
                document = []
            if not blank:
                document.append(line)
        if document:
            yield document, number + 1

    def _lines(self, errors: Errors, counts: ReadCounts) -> Iterator[str]:
        """All lines; of a damaged file, unless that is an error, those before the damage."""
        try:
            yield from read_lines(self.path, errors=errors, counts=counts, longest=LONGEST_LINE)
        except FormatError:
            if errors == "strict":
                raise
            counts.damaged_files += 1


@dataclass
class TextSource:
    """What is read and how its text is laid out.

    Args:
        patterns: Files, folders or globs; "-" alone is standard input; "hub:NAME" alone a data set of the Hub.
        layout: "lines": one sentence a line; "running": one paragraph a line, which is split into sentences.
        language: ISO 639 code of running text, whose abbreviations the splitting goes by.
    """

    patterns: list[str]
    layout: Layout = "lines"
    language: str = DEFAULT_LANGUAGE
    counts: ReadCounts = field(default_factory=ReadCounts)
    """What reading met: lines and files, and those that are empty, damaged or not UTF-8."""
    _checked: list[tuple[str, int, int]] | None = field(default=None, init=False, repr=False, compare=False)

    def files(self) -> list[Path]:
        """Give the files; "-" alone is standard input.

        Raises:
            ValueError: Names a pattern that no file matches.
        """
        if self._hub is not None:
            return []
        return [Path("-")] if self.patterns == ["-"] else expand_paths(self.patterns)

    def units(self) -> Sequence[Unit]:
        """Give what is read, in order.

        Raises:
            ValueError: Names a pattern that no file matches.
        """
        return [FileUnit(path) for path in self.files()] if self._hub is None else [self._hub]

    def fingerprint(self) -> dict[str, Any]:
        """Say what must be unchanged for shards to be used again: each file's name, size and checksum.

        The time of change is not among them: a copy of the text on another machine is the same text.
        """
        read: dict[str, Any] = {"layout": self.layout, "language": self.language}
        if self._hub is not None:
            return {"files": [[self._hub.name]], **read}
        if self.patterns == ["-"]:
            return {"files": [["standard input"]], **read}
        if self._checked is None:
            self._checked = [(path.name, path.stat().st_size, checksum(path)) for path in self.files()]
        return {"files": self._checked, **read}

    def bytes_on_disk(self) -> int | None:
        """Give the size of all files; None where it cannot be known."""
        files = self.files()
        return None if not files or files == [Path("-")] else sum(path.stat().st_size for path in files)

    def describe(self) -> str:
        """Name the patterns for a message."""
        return ", ".join(self.patterns)

    @property
    def _hub(self) -> HubData | None:
        """The data set, if it is one.

        Raises:
            ValueError: It is named beside something else.
        """
        if not any(pattern.startswith(HUB) for pattern in self.patterns):
            return None
        if len(self.patterns) > 1:
            raise ValueError(f"{self.describe()}: a data set of the Hub must stand alone")
        return HubData.parse(self.patterns[0])


def read_documents(source: TextSource, text: TextConfig, errors: Errors = "skip") -> Iterator[Document]:
    """Read, split, tokenize and normalize; all lines are counted in `source.counts`.

    A document ends at an empty line, at the end of a file, or after `DOCUMENT_LINES` lines.

    Args:
        source: The files.
        text: Tokenizer and normalization.
        errors: Whether what is damaged or not UTF-8 is left out ("skip") or an error ("strict").
    """
    sentences = sentence_reader(text, source.layout, source.language)
    for unit in source.units():
        for lines, _ in unit.documents(0, source.counts, errors):
            if document := [words for line in lines for words in sentences(line)]:
                yield document


def read_sentences(source: TextSource, text: TextConfig, tokenizer: str | None = None) -> Iterator[list[str]]:
    """Give the sentences of all documents one after the other, by another tokenizer than the model's if asked.

    Raises:
        ValueError: A file is missing or the tokenizer unknown.
        FormatError: A line is not UTF-8: what is measured on text is measured on all of it.
    """
    for document in read_documents(source, text if tokenizer is None else replace(text, tokenizer=tokenizer), "strict"):
        yield from document


def sentence_reader(text: TextConfig, layout: Layout, language: str) -> Callable[[str], Iterator[list[str]]]:
    """Give what turns a line into sentences of normalized words, none of them empty."""
    words = word_reader(text)

    def read(line: str) -> Iterator[list[str]]:
        parts = [line] if layout == "lines" else [sentence.text for sentence in split_sentences(line, language)]
        return filter(None, map(words, parts))

    return read


def word_reader(text: TextConfig) -> Callable[[str], list[str]]:
    """Give what turns a sentence into normalized words."""
    tokenize: Callable[[str], list[Token]] = get_tokenizer(text.tokenizer)
    if text.normalization == "none" and not text.lowercase:
        return lambda sentence: [token.text for token in tokenize(sentence)]
    return lambda sentence: [normalize(token.text, text) for token in tokenize(sentence)]
