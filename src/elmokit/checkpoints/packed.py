"""A file inside an archive that behaves as a `Path` does, so that every format's loader reads folders and archives alike.

Only what the loaders use is here. Nothing is written to disk; a file's bytes are taken out of the archive when they are
asked for.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TypeAlias


@dataclass(frozen=True)
class Archive:
    """An archive whose list of files was checked."""

    name: str
    """Its path, for messages."""
    files: frozenset[PurePosixPath]
    """All files in it."""
    read: Callable[[PurePosixPath], bytes]
    """Gives the bytes of one of them; raises FormatError where they are damaged."""


@dataclass(frozen=True)
class PackedPath:
    """A file or folder in an archive."""

    archive: Archive
    """Where it is."""
    inside: PurePosixPath
    """Its path there; empty for the archive's root."""

    def __str__(self) -> str:
        return f"{self.archive.name}/{self.inside}" if self.inside.name else self.archive.name

    def __truediv__(self, name: str) -> "PackedPath":
        return PackedPath(self.archive, self.inside / name)

    def __lt__(self, other: "PackedPath") -> bool:
        return self.inside < other.inside

    @property
    def name(self) -> str:
        """Its last part, as of a `Path`."""
        return self.inside.name

    @property
    def suffix(self) -> str:
        """Its ending, the dot included."""
        return self.inside.suffix

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return self.inside.stem

    @property
    def parent(self) -> "PackedPath":
        """The folder it is in."""
        return PackedPath(self.archive, self.inside.parent)

    def is_file(self) -> bool:
        """Whether the archive has this file."""
        return self.inside in self.archive.files

    def is_dir(self) -> bool:
        """Whether the archive has files in this folder."""
        return any(self.inside in file.parents for file in self.archive.files)

    def exists(self) -> bool:
        """Whether it is a file or a folder there."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> list["PackedPath"]:
        """What is in this folder, sorted."""
        depth = len(self.inside.parts)
        below = [file.parts for file in self.archive.files if self.inside in file.parents]
        return [self / name for name in sorted({parts[depth] for parts in below})]

    def read_bytes(self) -> bytes:
        """The file's bytes.

        Raises:
            FileNotFoundError: The archive has no such file.
            FormatError: They are damaged in the archive.
        """
        if not self.is_file():
            raise FileNotFoundError(errno.ENOENT, "no such file in the archive", str(self))
        return self.archive.read(self.inside)

    def open(self, mode: str = "rb") -> BytesIO:
        """The file, to be read from memory."""
        assert mode == "rb"
        return BytesIO(self.read_bytes())


AnyPath: TypeAlias = Path | PackedPath
"""What a loader reads: a file or folder, on disk or in an archive."""


def visible_files(folder: AnyPath) -> list[AnyPath]:
    """Give the files of a folder but hidden ones, sorted by name."""
    files: list[AnyPath] = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return sorted(files, key=lambda path: path.name)
