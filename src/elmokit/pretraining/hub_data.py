"""A data set of the Hub as a corpus: its rows are streamed by the library `datasets`, never all at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elmokit.errors import MissingExtraError
from elmokit.text.files import Errors, ReadCounts

HUB = "hub:"
"""What stands before the name of a data set, which could be that of a file."""


@dataclass(frozen=True)
class HubData:
    """One split of a data set; places are its rows, each of which is a document.

    Args:
        path: `owner/name`, or a folder of files that `datasets` reads.
        config: One of its configurations, if it has several.
        split: The split.
        column: The column with the text.
    """

    path: str
    config: str | None = None
    split: str = "train"
    column: str = "text"

    @classmethod
    def parse(cls, pattern: str) -> "HubData":
        """Read `hub:NAME`, with `?config=…&split=…&column=…` where the usual ones are not meant.

        Raises:
            ValueError: It is written otherwise.
        """
        path, _, options = pattern.removeprefix(HUB).partition("?")
        parts = [option.partition("=") for option in options.split("&") if option]
        pairs = {name: value for name, _, value in parts}
        wrong = sorted(pairs.keys() - {"config", "split", "column"}) + sorted(name for name, value in pairs.items() if not value)
        if not path or wrong:
            raise ValueError(f"{pattern}: a data set is written hub:NAME or hub:NAME?config=C&split=train&column=text")
        return cls(path, **pairs)

    @property
    def name(self) -> str:
        """Its name for messages, and for telling whether shards were made of it."""
        config = f"config={self.config}&" if self.config else ""
        return f"{HUB}{self.path}?{config}split={self.split}&column={self.column}"

    def documents(self, start: int, counts: ReadCounts, errors: Errors) -> Iterator[tuple[list[str], int]]:
        """Give the lines of each row that has any text; see `elmokit.pretraining.reading.Unit`.

        Raises:
            ValueError: There is no such data set, split or column.
            MissingExtraError: The library `datasets` is not there.
        """
        number = 0
        for number, row in enumerate(self._rows(), 1):
            text = row.get(self.column)
            if not isinstance(text, str):
                raise ValueError(f"{self.name}: no text in the column {self.column!r}; there are {', '.join(row)}")
            lines = text.split("\n")
            kept = [line for line in lines if line.strip()]
            counts.lines += len(lines)
            counts.empty += len(lines) - len(kept)
            if kept and number > start:
                yield kept, number
        counts.empty_files += number == 0

    def _rows(self) -> Iterator[dict[str, Any]]:
        """All rows: where the library skips some, it reads them too."""
        try:
            import datasets  # an extra
        except ImportError as error:
            raise MissingExtraError(f"{self.name}: reading a data set of the Hub", "datasets") from error
        try:
            rows = datasets.load_dataset(self.path, self.config, split=self.split, streaming=True)
        except (OSError, ValueError) as error:  # their own errors of a missing data set, file or split are of these two kinds
            raise ValueError(f"{self.name}: {error}") from error
        yield from rows
