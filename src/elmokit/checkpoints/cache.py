"""The folder where fetched models are kept, and how files get there: from the web, or from a folder that stands in for it.

    ELMOKIT_CACHE     the folder (else the one for caches that the system has)
    ELMOKIT_MIRROR    a folder, or an address, under which HOST/PATH holds what would be fetched from http(s)://HOST/PATH
    HF_HUB_OFFLINE    1: nothing is fetched, as for the Hub's own client

A file in the cache is whole and was verified when it came. Two processes that want one model take turns.
"""

import dataclasses
import hashlib
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from filelock import FileLock, Timeout

from elmokit.atomic import atomic_path
from elmokit.checkpoints.published import PublishedModel, RemoteFile
from elmokit.checkpoints.transfer import DownloadError, download, verify

MIRROR = "ELMOKIT_MIRROR"
PATIENCE_FOR_OTHERS = 2.0
"""Seconds of waiting for another process before the user is told why nothing happens."""
LONGEST_NAME, KEPT = 100, 80
"""Characters of a step of an address that may be a file's name, and the last ones of a longer step, which stay."""
_HOST = re.compile(r"[\w:-][\w.:-]*")


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Give the folder where fetched models are kept; it may not exist yet.

    Args:
        cache_dir: The user's choice, if any; else `ELMOKIT_CACHE`, else `elmokit` in the system's folder for caches
            (`XDG_CACHE_HOME` or `~/.cache`; `~/Library/Caches` on macOS; `%LOCALAPPDATA%` on Windows).
    """
    chosen = cache_dir or os.environ.get("ELMOKIT_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "elmokit" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "elmokit"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if Path(xdg).is_absolute() else home / ".cache") / "elmokit"


def is_offline(local_files_only: bool = False) -> bool:
    """Whether nothing may be fetched: by the user's argument, or by `HF_HUB_OFFLINE` as the Hub's client reads it."""
    return local_files_only or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def folder_of_model(model: PublishedModel, cache: Path) -> Path:
    """Where a published model's files are in a cache."""
    return cache.joinpath("models", *model.name.split("/"))


def file_of_url(url: str, cache: Path) -> tuple[RemoteFile, Path]:
    """Give the file at an address that the registry does not know, and the folder for it in a cache.

    Files of one folder on the web are together here too, so that options find their weights.
    """
    parts = urlsplit(url)
    host = _host(url)
    steps = [_safe(step) for step in unquote(parts.path).split("/") if step]
    if not steps:
        raise DownloadError(f"{url}: is no address of a file")
    *folders, name = steps
    if parts.query:  # other parameters may mean another file
        folders.append(hashlib.sha256(parts.query.encode()).hexdigest()[:12])
    return RemoteFile(name=name, urls=(url,)), cache.joinpath("addresses", parts.scheme, _safe(host), *folders)


def fetch_model(
    model: PublishedModel,
    folder: Path,
    *,
    cache: Path,
    offline: bool = False,
    show_progress: bool | None = None,
) -> list[Path]:
    """Bring a published model's files into a folder; those that are there already stay.

    Args:
        model: What to fetch.
        folder: Where to: one in the cache (`folder_of_model`), or the user's own.
        cache: The cache; it holds the locks.
        offline: Nothing may be fetched; the mirror may still be a folder.
        show_progress: Whether progress is shown; None shows it on a terminal.

    Returns:
        The files: the published ones, or the one that they are parts of.

    Raises:
        DownloadError: A file cannot be had or is not the published one.
        OSError: It cannot be written.
    """
    paths = _paths(model, folder)
    if all(path.is_file() for path in paths):
        return paths
    with _alone(folder, cache):
        if all(path.is_file() for path in paths):  # by now another process may have fetched them
            return paths
        for file in model.files:
            _bring(file, folder, offline, show_progress)
        if model.joined:
            _join([folder / file.name for file in model.files], model.joined, paths[0])
    return paths


def fetched(model: PublishedModel, cache: Path) -> bool:
    """Whether all of a published model is in a cache."""
    return all(path.is_file() for path in _paths(model, folder_of_model(model, cache)))


def fetch_url(url: str, *, cache: Path, offline: bool = False) -> Path:
    """Bring the file at an address that the registry does not know into the cache.

    Raises:
        DownloadError: It cannot be had.
    """
    file, folder = file_of_url(url, cache)
    return fetch_one(file, folder, cache=cache, offline=offline)


def fetch_one(file: RemoteFile, folder: Path, *, cache: Path, offline: bool = False) -> Path:
    """Bring one file into a folder of the cache; what is there stays.

    Raises:
        DownloadError: It cannot be had.
    """
    if (folder / file.name).is_file():
        return folder / file.name
    with _alone(folder, cache):
        return _bring(file, folder, offline, None)


def _bring(file: RemoteFile, folder: Path, offline: bool, show_progress: bool | None) -> Path:
    """Bring one file into a folder, from the mirror if there is one, else from the web; what is there stays."""
    target = folder / file.name
    if target.is_file():
        return target
    mirror = os.environ.get(MIRROR, "")
    if mirror and not mirror.startswith(("http://", "https://")):
        folder.mkdir(parents=True, exist_ok=True)
        _copy_from(Path(mirror).expanduser(), file, target)
        return target
    if offline:
        raise DownloadError(
            f"{target}: not there, and nothing is fetched with HF_HUB_OFFLINE=1 or local_files_only; "
            f"fetch it once without, or name a folder that holds the published files as {MIRROR}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    urls = tuple(f"{mirror.rstrip('/')}/{_below_host(url)}" for url in file.urls) if mirror else file.urls
    download(dataclasses.replace(file, urls=urls), target, show_progress=show_progress)
    return target


def _copy_from(mirror: Path, file: RemoteFile, target: Path) -> None:
    """Copy a file from the folder that stands in for the web."""
    # Joined as a string: step by step, Windows would take "C:" for another drive.
    places = [Path(f"{mirror}/{_below_host(url)}") for url in file.urls]
    for place in places:
        if place.is_file():
            with atomic_path(target) as temporary:
                shutil.copyfile(place, temporary)
                verify(temporary, file, str(place))
            return
    looked = " or ".join(str(place) for place in places)
    raise DownloadError(f"{file.name}: {MIRROR} is {mirror}, and there is no {looked}")


def _paths(model: PublishedModel, folder: Path) -> list[Path]:
    """The files that a published model has in the end."""
    whole = [model.joined] if model.joined else list(model.files)
    return [folder / file.name for file in whole]


def _below_host(url: str) -> str:
    """HOST/PATH of an address, without what could lead out of a folder on any system."""
    steps = re.split(r"[/\\]", unquote(urlsplit(url).path))
    return "/".join([_host(url), *(step for step in steps if step.strip(" ."))])  # Windows takes ".. " for ".."


def _host(url: str) -> str:
    """HOST or HOST:PORT of an address, without a user's name and password.

    Raises:
        DownloadError: There is none, or it is no name of a host.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise DownloadError(f"{url}: is no address ({error})") from error
    if not _HOST.fullmatch(host):
        raise DownloadError(f"{url}: is no address of a file, {host!r} is no host")
    return host if port is None else f"{host}:{port}"


def _join(pieces: list[Path], whole: RemoteFile, target: Path) -> None:
    """Put the parts one behind the other, and remove them."""
    with atomic_path(target) as temporary:
        with temporary.open("wb") as out:
            for piece in pieces:
                with piece.open("rb") as opened:
                    shutil.copyfileobj(opened, out, 2**20)
        verify(temporary, whole, f"{target}, put together from its {len(pieces)} parts")
    for piece in pieces:
        piece.unlink()


@contextmanager
def _alone(folder: Path, cache: Path) -> Iterator[None]:
    """Let no other process fetch into this folder meanwhile."""
    locks = cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:32]}.lock")
    try:
        lock.acquire(timeout=PATIENCE_FOR_OTHERS)
    except Timeout:
        warnings.warn(f"another process is fetching into {folder}; waiting for it", stacklevel=3)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _safe(step: str) -> str:
    """A step of an address as the name of a file: no other step gives the same, and its ending stays.

    Nothing is hidden, nothing forbidden by any file system, and all is ASCII, so that characters are bytes. What is cut off
    a long name is told by its hash; at the end `…_options.json` still differs from its `…_weights.hdf5` by these words alone.
    """
    name = re.sub(r"^\.|\.$", "%2E", quote(step, safe="+"))
    if len(name) <= LONGEST_NAME:
        return name
    return f"{hashlib.sha256(name[:-KEPT].encode()).hexdigest()[:16]}-{name[-KEPT:]}"
