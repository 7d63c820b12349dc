"""Models in archives, read where they are: `.zip`, `.tar`, `.tar.gz` (`.tgz`), `.tar.bz2`; nothing is unpacked to disk.

An archive may come from anywhere. Before a file in it is read, its whole list is checked: no path that leads out, no
link or device, no file twice, no encryption, and no more bytes than an archive of this size can hold of a model. What is
read is compared with what the list announced, and the checksums (of zip and gzip and bzip2; a bare tar has none of
its contents) are verified. A zip gives each file when it is asked for; a compressed tar is taken into memory as a whole.
"""

import bz2
import gzip
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Final, TypeVar

from elmokit.checkpoints.packed import Archive, PackedPath
from elmokit.errors import FormatError

T = TypeVar("T")

_TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2")
_OTHERS: Final = (".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_MOST_FILES: Final = 10_000
_EXPANSION: Final = 20
"""Weights hardly get smaller, text by a factor of ten at most: what unpacks to more than this is a bomb."""
_SMALL: Final = 2**26
"""Bytes that an archive may unpack to however small it is."""
_LARGEST: Final = 2**33
"""Twice what the largest known is: a training folder with a softmax over 800,000 words, all its numbers stored twice."""
_CHUNK: Final = 2**20
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,  # what zipfile and tarfile cannot read; a RecursionError among it
    ValueError,
    OverflowError,
)


def is_archive(path: Path) -> bool:
    """Whether a file is packed, by its name; `opened_archive` says so if it is of a kind that is not read."""
    return path.name.lower().endswith((".zip", *_TARS, *_OTHERS))


def looks_packed(path: Path) -> bool:
    """Whether a file is packed, by its first bytes: some are renamed when they are downloaded."""
    return _magic(path) is not None


def _magic(path: Path) -> str | None:
    """The kind of archive that a file's own bytes say: "zip", "gz", "bz2" or "tar"; None for none of them."""
    try:
        with path.open("rb") as file:
            head = file.read(tarfile.BLOCKSIZE)
    except OSError:
        return None  # whoever opens it says why
    kinds = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gz", b"BZh": "bz2"}
    found = next((kind for magic, kind in kinds.items() if head.startswith(magic)), None)
    return "tar" if found is None and head[257:262] == b"ustar" else found


def _kind(path: Path) -> str:
    """What to open a file as: what its bytes say, else what its name says."""
    name = path.name.lower()
    by_name = next((kind for kind in ("zip", "gz", "bz2", "tar") if name.endswith(kind)), None)
    return _magic(path) or {"tgz": "gz", "tbz2": "bz2"}.get(name.rsplit(".", 1)[-1]) or by_name or "tar"


@contextmanager
def opened_archive(path: Path) -> Iterator[PackedPath]:
    """Give the folder that an archive holds, for a loader to read from; a single folder round everything is entered.

    Raises:
        ValueError: The file cannot be read.
        FormatError: The archive, and the file in it that is damaged, suspicious or larger than can be.
    """
    if path.name.lower().endswith(_OTHERS) and not path.name.lower().endswith(_TARS) and _magic(path) != "zip":
        raise FormatError(
            f"{path}: archives of this kind are not read, only .zip, {', '.join(_TARS)}; unpack it and give the folder"
        )
    with ExitStack() as stack:
        try:
            kind = _kind(path)
            archive = _zip(path, stack) if kind == "zip" else _tar(path, kind, stack)
        except FormatError:
            raise
        except (PermissionError, IsADirectoryError) as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
        except _DAMAGE as error:
            raise FormatError(f"{path}: not an archive, or damaged or cut short ({error}); fetch it again") from error
        yield _root(archive)


def _zip(path: Path, stack: ExitStack) -> Archive:
    """Open a zip and check its list."""
    file = stack.enter_context(zipfile.ZipFile(path))
    infos: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in _few(file.infolist(), path):
        mode = info.external_attr >> 16
        kind = stat.S_IFMT(mode)
        place = _place(info.orig_filename, path)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise FormatError(f"{path}: {place} is a link or a device, which no model needs")
        if info.is_dir():
            continue
        if info.flag_bits & 1:
            raise FormatError(f"{path}: {place} is encrypted; unpack the archive and give the folder")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FormatError(f"{path}: {place} is compressed by method {info.compress_type}, only deflate is read; unpack it")
        _add(infos, place, info, path)
    _check_size(sum(info.file_size for info in infos.values()), path)

    def read(place: PurePosixPath) -> bytes:
        with file.open(infos[place]) as opened:
            return opened.read(infos[place].file_size)  # so much and no more; the checksum is compared at its end

    return _archive(path, {place: info.file_size for place, info in infos.items()}, read)


def _tar(path: Path, kind: str, stack: ExitStack) -> Archive:
    """Open a tar, take it into memory if it is compressed ("gz" or "bz2"), and check its list."""
    file: IO[bytes]
    if kind == "tar":
        file = stack.enter_context(path.open("rb"))
    else:
        file = BytesIO()
        with gzip.open(path) if kind == "gz" else bz2.open(path) as packed:
            while chunk := packed.read(_CHUNK):
                file.write(chunk)
                _check_size(file.tell(), path)
    size = file.seek(0, 2)
    file.seek(0)
    infos: dict[PurePosixPath, tarfile.TarInfo] = {}
    tar = stack.enter_context(tarfile.TarFile(fileobj=file))
    for info in _few(tar, path):
        place = _place(info.name, path)
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise FormatError(f"{path}: {place} is a link, a device or sparse, which no model needs")
        if not 0 <= info.size <= size - info.offset_data:
            raise FormatError(f"{path}: {place} should have {info.size:,} bytes and the archive ends before; is it cut short?")
        _add(infos, place, info, path)
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes a damaged header for the end
        raise FormatError(
            f"{path}, byte {tar.offset:,} of the tar: neither a file nor its end; damaged or cut short, fetch it again"
        )

    def read(place: PurePosixPath) -> bytes:
        file.seek(infos[place].offset_data)
        return file.read(infos[place].size)

    return _archive(path, {place: info.size for place, info in infos.items()}, read)


def _archive(path: Path, sizes: dict[PurePosixPath, int], read: Callable[[PurePosixPath], bytes]) -> Archive:
    """Make the reading of one file give all its bytes or say what is wrong."""

    def whole(place: PurePosixPath) -> bytes:
        try:
            data = read(place)
        except _DAMAGE as error:
            raise FormatError(f"{path}/{place}: damaged in the archive ({error}); fetch it again") from error
        if len(data) != sizes[place]:
            raise FormatError(
                f"{path}/{place}: has {len(data):,} bytes, the archive's list says {sizes[place]:,}; fetch it again"
            )
        return data

    visible = (place for place in sizes if not any(part.startswith((".", "__MACOSX")) for part in place.parts))
    return Archive(str(path), frozenset(visible), whole)


def _root(archive: Archive) -> PackedPath:
    """The folder of the model: the archive's own, or the only one in it."""
    root = PackedPath(archive, PurePosixPath())
    inside = root.iterdir()
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else root


def _few(entries: Iterable[T], path: Path) -> Iterator[T]:
    """Pass entries on, up to a number that no model reaches."""
    for number, entry in enumerate(entries):
        if number == _MOST_FILES:
            raise FormatError(f"{path}: holds more than {_MOST_FILES:,} files; that is no model")
        yield entry


def _place(name: str, path: Path) -> PurePosixPath:
    """Check the name of an entry."""
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or re.search(r"[\\\0]|^[A-Za-z]:", name):
        raise FormatError(f"{path}: {name[:80]!r} is a path that leads out of the archive; do not trust it")
    return place


def _add(infos: dict[PurePosixPath, T], place: PurePosixPath, info: T, path: Path) -> None:
    """Note a file of the list."""
    if place in infos:
        raise FormatError(f"{path}: {place} is there twice")
    infos[place] = info


def _check_size(size: int, path: Path) -> None:
    """Refuse a bomb."""
    packed = path.stat().st_size
    if size > max(_SMALL, _EXPANSION * packed) or size > _LARGEST:
        raise FormatError(f"{path}: {packed:,} bytes unpack to {size:,} or more, which no model does; it may be a bomb")
