"""Text files → documents of tokenized sentences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from elmokit.config import TextConfig
from elmokit.errors import FormatError
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


@dataclass
class TextSource:
    """Files and how their text is laid out.

    Args:
        patterns: Files, folders or globs.
        layout: "lines": one sentence a line; "running": one paragraph a line, which is split into sentences.
        language: ISO 639 code of running text, whose abbreviations the splitting goes by.
    """

    patterns: list[str]
    layout: Layout = "lines"
    language: str = DEFAULT_LANGUAGE
    counts: ReadCounts = field(default_factory=ReadCounts)
    """What reading met: lines and files, and those that are empty, damaged or not UTF-8."""

    def files(self) -> list[Path]:
        """Give the files; "-" alone is standard input.

        Raises:
            ValueError: Names a pattern that no file matches.
        """
        return [Path("-")] if self.patterns == ["-"] else expand_paths(self.patterns)

    def fingerprint(self) -> dict[str, Any]:
        """Say what must be unchanged for shards to be used again: each file's name, size and time of change."""
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files()]
        return {"files": stats, "layout": self.layout, "language": self.language}

    def describe(self) -> str:
        """Name the patterns for a message."""
        return ", ".join(self.patterns)


def read_documents(source: TextSource, text: TextConfig, errors: Errors = "skip") -> Iterator[Document]:
    """Read, split, tokenize and normalize; all lines are counted in `source.counts`.

    A document ends at an empty line, at the end of a file, or after `DOCUMENT_LINES` lines.

    Args:
        source: The files.
        text: Tokenizer and normalization.
        errors: Whether what is damaged or not UTF-8 is left out ("skip") or an error ("strict").
    """
    words = word_reader(text)
    for path in source.files():
        document: Document = []
        lines = 0
        for line in _lines(path, errors, source.counts):
            if not line.strip() or lines >= DOCUMENT_LINES:
                if document:
                    yield document
                document, lines = [], 0
            lines += 1
            for sentence in _sentences(line, source):
                if tokens := words(sentence):
                    document.append(tokens)
        if document:
            yield document


def read_sentences(source: TextSource, text: TextConfig, tokenizer: str | None = None) -> Iterator[list[str]]:
    """Give the sentences of all documents one after the other, by another tokenizer than the model's if asked.

    Raises:
        ValueError: A file is missing or the tokenizer unknown.
        FormatError: A line is not UTF-8: what is measured on text is measured on all of it.
    """
    for document in read_documents(source, text if tokenizer is None else replace(text, tokenizer=tokenizer), "strict"):
        yield from document


def word_reader(text: TextConfig) -> Callable[[str], list[str]]:
    """Give what turns a sentence into normalized words."""
    tokenize: Callable[[str], list[Token]] = get_tokenizer(text.tokenizer)
    if text.normalization == "none" and not text.lowercase:
        return lambda sentence: [token.text for token in tokenize(sentence)]
    return lambda sentence: [normalize(token.text, text) for token in tokenize(sentence)]


def _lines(path: Path, errors: Errors, counts: ReadCounts) -> Iterator[str]:
    """The lines of a file; of a damaged one, unless that is an error, those before the damage."""
    try:
        yield from read_lines(path, errors=errors, counts=counts)
    except FormatError:
        if errors == "strict":
            raise
        counts.damaged_files += 1


def _sentences(line: str, source: TextSource) -> list[str]:
    """The sentences of a line."""
    if source.layout == "lines":
        return [line]
    return [sentence.text for sentence in split_sentences(line, source.language)]
