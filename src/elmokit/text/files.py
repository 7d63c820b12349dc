"""The one place that opens text files: plain, `.gz`, `.xz` and `.zst`, read line by line, never whole."""

import glob
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Literal

from elmokit.errors import FormatError, MissingExtraError

_CHUNK = 1 << 16
PACKED = (".gz", ".xz", ".zst")
"""Suffixes of files that are unpacked on the way."""
_NOT_UNPACKED = (".bz2", ".zip", ".7z")
_BOM = b"\xef\xbb\xbf"
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)

Errors = Literal["strict", "skip"]


@dataclass
class ReadCounts:
    """What `read_lines` met; one object may count several files."""

    lines: int = 0
    """All lines, those of the two kinds below among them."""
    undecodable: int = 0
    """Lines that are not UTF-8."""
    empty: int = 0
    """Lines without any character but white space."""
    empty_files: int = 0
    """Files without any text."""
    damaged_files: int = 0
    """Compressed files that are damaged or cut short; counted by those who go on after the error."""
    cut: int = 0
    """Pieces cut off lines that were longer than asked for; each counts as a line."""
    packed_bytes: int = 0
    """Bytes read so far, as they lie on the disk."""


def read_lines(
    path: str | Path, *, errors: Errors = "strict", counts: ReadCounts | None = None, longest: int | None = None
) -> Iterator[str]:
    r"""Give the lines of a text file one after the other, without their ends.

    A line ends at `\n` or `\r\n` and nowhere else. A byte order mark at the file's beginning is dropped. Each line is
    decoded by itself, so that one bad line costs no other.

    Args:
        path: A file; `.gz`, `.xz` and `.zst` are unpacked on the way; "-" is standard input.
        errors: What to do with a line that is not UTF-8: "strict" raises, "skip" leaves it out.
        counts: Where to count lines, if wanted.
        longest: Bytes of a line at the most: a longer one is given in pieces, cut at a space where there is one. None: no limit.

    Raises:
        ValueError: There is no such file, it is a folder, packed in another way, or it may not be read.
        FormatError: A line is not UTF-8, or a compressed file is damaged or cut short (only found when its end is reached).
        MissingExtraError: `.zst` without the library zstandard.
    """
    if str(path) != "-":
        path = _existing_file(Path(path))
    return _decoded(str(path), errors, counts or ReadCounts(), longest)


def expand_paths(patterns: Iterable[str | Path]) -> list[Path]:
    """Turn files, folders and globs (`data/**/*.txt.xz`) into files, in the order given, each once.

    A folder stands for all files below it, but for hidden ones (a leading dot); globs and folders are sorted by name.

    Raises:
        ValueError: Names the pattern that no file matches.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern and finds hidden files
        matches = [path] if path.exists() else [Path(name) for name in sorted(names)]
        files = [file for match in matches for file in _files_of(match)]
        if not files:
            reason = "no file in this folder" if path.is_dir() else "no such file, and no file matches it"
            raise ValueError(f"{pattern}: {reason}")
        found.update(dict.fromkeys(files))
    return list(found)


def _files_of(path: Path) -> list[Path]:
    """The file itself, or the visible files below a folder."""
    if not path.is_dir():
        return [path]
    inside = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts))


def _existing_file(path: Path) -> Path:
    """Check what can be checked before anything is read."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, expected a text file")
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    if path.suffix.lower() in _NOT_UNPACKED:
        raise ValueError(f"{path}: this compression is not supported, .gz, .xz and .zst are; unpack the file")
    return path


def _decoded(name: str, errors: Errors, counts: ReadCounts, longest: int | None) -> Iterator[str]:
    """Decode line by line and count."""
    has_text = False
    for number, line in enumerate(_split(_chunks(name, counts), counts, longest), 1):
        if number == 1:
            line = line.removeprefix(_BOM)
        counts.lines += 1
        try:
            text = line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            counts.undecodable += 1
            if errors == "strict":
                place = f"{name}, line {number}"
                raise FormatError(f"{place}: byte {error.start + 1} is not UTF-8; convert the file to UTF-8") from error
            continue
        if not text or text.isspace():
            counts.empty += 1
        else:
            has_text = True
        yield text
    counts.empty_files += not has_text


def _split(chunks: Iterable[bytes], counts: ReadCounts, longest: int | None) -> Iterator[bytes]:
    r"""Cut a stream of bytes at each `\n`, and what is longer than `longest` too."""
    begun: list[bytes] = []  # the parts of a line that is not ended yet: joined once, however long the line
    size = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun.append(first)
        size += len(first)
        if others:
            yield from _pieces(b"".join(begun), counts, longest)
            for line in others[:-1]:
                yield from _pieces(line, counts, longest)
            begun, size = [others[-1]], len(others[-1])
        elif longest is not None and size > 2 * longest:
            *whole, rest = _pieces(b"".join(begun), counts, longest)
            yield from whole
            begun, size = [rest], len(rest)
    if last := b"".join(begun):
        yield from _pieces(last, counts, longest)


def _pieces(line: bytes, counts: ReadCounts, longest: int | None) -> Iterator[bytes]:
    """A line, cut where it is longer than `longest`: after a space, or else between two characters."""
    while longest is not None and len(line) > longest:
        end = line.rfind(b" ", 0, longest) + 1
        if not end:
            end = longest
            while end > 1 and line[end] & 0b1100_0000 == 0b1000_0000:  # inside a character
                end -= 1
        counts.cut += 1
        yield line[:end]
        line = line[end:]
    yield line


def _chunks(name: str, counts: ReadCounts) -> Iterator[bytes]:
    """Read and unpack a file piece by piece; errors of its format or of the system name it."""
    suffix = Path(name).suffix.lower()
    unpack: Callable[[IO[bytes]], IO[bytes] | BufferedIOBase] = _UNPACK.get(suffix, _as_it_is)
    try:
        if name == "-":
            yield from iter(partial(sys.stdin.buffer.read, _CHUNK), b"")
            return
        with open(name, "rb") as packed:
            before = counts.packed_bytes
            chunks = _zstd_chunks(packed, name) if suffix == ".zst" else iter(partial(unpack(packed).read, _CHUNK), b"")
            for chunk in chunks:
                counts.packed_bytes = before + packed.tell()
                yield chunk
    except _DAMAGE as error:
        raise FormatError(f"{name}: damaged, cut short or not a {suffix} file ({error})") from error
    except OSError as error:
        raise ValueError(f"{name}: cannot be read ({error.strerror})") from error


def _gunzipped(packed: IO[bytes]) -> BufferedIOBase:
    """Unpack a gzip file."""
    return gzip.GzipFile(fileobj=packed)


def _as_it_is(packed: IO[bytes]) -> IO[bytes]:
    """Leave a plain file as it is."""
    return packed


_UNPACK: dict[str, Callable[[IO[bytes]], BufferedIOBase]] = {".gz": _gunzipped, ".xz": lzma.LZMAFile}


def _zstd_chunks(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Unpack all frames of a `.zst` file; zstandard's own file object ends at a cut without a word."""
    try:
        import zstandard  # an extra: only users of .zst need it
    except ImportError as error:
        raise MissingExtraError(f"{name}: reading .zst", "zstd") from error
    frame = None
    while packed := file.read(_CHUNK):
        while packed:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise FormatError(f"{name}: damaged or not a .zst file ({error})") from error
            packed = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise FormatError(f"{name}: cut short, the last frame does not end")
