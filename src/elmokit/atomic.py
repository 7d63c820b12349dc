"""Write to a temporary name beside the target, then rename: a reader sees the old file or the new one, never a half."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it over `target` on success, remove it on any error.

    The suffixes of `target` are kept, since some writers choose a format by them.
    """
    temporary = _temporary_name(target)
    with _folders_above(target):
        try:
            yield temporary
            _sync(temporary)
            os.replace(temporary, target)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            _name_target(error, temporary, target)
            raise


@contextmanager
def atomic_text(target: str) -> Iterator[IO[str]]:
    """Open a text file that is written whole or not at all, its lines ended by a line feed; "-" is the standard output."""
    if target == "-":
        yield sys.stdout
        return
    with atomic_path(Path(target)) as path, path.open("w", encoding="utf-8", newline="\n") as file:
        yield file


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target`; on success it takes the place of `target`, on any error it is removed.

    An older folder of that name is moved aside first and removed last, so that one of the two always exists complete.
    """
    temporary = _temporary_name(target)
    aside = _temporary_name(target)
    with _folders_above(target):
        try:
            temporary.mkdir()
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():
                    _sync(path)
            if target.exists():
                os.rename(target, aside)
            os.rename(temporary, target)
        except BaseException as error:
            if aside.exists() and not target.exists():
                os.rename(aside, target)
            shutil.rmtree(temporary, ignore_errors=True)
            _name_target(error, temporary, target)
            raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _folders_above(target: Path) -> Iterator[None]:
    """Make the folders that `target` lies in; on any error remove those made here, if they are empty."""
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()
        raise


def _temporary_name(target: Path) -> Path:
    """A name beside `target` that nothing has: same file system, so that renaming is atomic."""
    unique = secrets.token_hex(4)
    return target.with_name(f".{unique}.{target.name}")


def _name_target(error: BaseException, temporary: Path, target: Path) -> None:
    """Let a failed write name the file that the user asked for, not our temporary one (or, as a full disk does, none)."""
    if isinstance(error, OSError) and (error.filename is None or str(error.filename).startswith(str(temporary))):
        error.filename = str(target)


def _sync(path: Path) -> None:
    """Force `path` to the disk before its name says that it is finished (Windows wants it open for writing)."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
