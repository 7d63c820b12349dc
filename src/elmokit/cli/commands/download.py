"""`elmo download`: a published model, fetched and verified."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elmokit.checkpoints.published import PublishedModel, RemoteFile


def download(name: str, *, out: Path | str | None = None) -> None:
    """Fetch a published model, so that it loads by its name without a network; say where it is and its checksums.

    A download that broke off goes on where it stopped when the command is given again. Files that are there already are
    not fetched, but verified.

    Args:
        name: A name or address that `elmo models` knows, another http(s) address of a model's file, or a model of the
            Hub (`owner/name`).
        out: A folder for the published files; by default they go to the cache (ELMOKIT_CACHE), where models are looked for.

    Raises:
        ValueError: There is no such model, or it cannot be had, or a file is not the published one.
    """
    from elmokit.checkpoints.fetch import Source, as_address, locate
    from elmokit.checkpoints.folder import sha256
    from elmokit.checkpoints.load import bundled_names, resolve_path
    from elmokit.checkpoints.registry import find_model, similar_names

    model = find_model(as_address(name))
    if model is not None:
        _fetch(model, out)
        return
    if out is not None:
        raise ValueError(f"--out is for published models, which {name} is not; leave it out, or copy what is fetched")
    path = resolve_path(name) if name in bundled_names() else locate(name, Source())
    if path is None:
        similar = similar_names(name)
        advice = f"did you mean {', '.join(similar)}?" if similar else "`elmo models` lists what is known"
        raise ValueError(f"{name}: no published model, no address and no model of the Hub; {advice}")
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            print(f"{file}  {file.stat().st_size:,} bytes  SHA-256 {sha256(file)}")


def _fetch(model: "PublishedModel", out: Path | str | None) -> None:
    """Fetch a model of the registry, verify what is known of its files, and say so."""
    from elmokit.checkpoints.cache import cache_folder, fetch_model, folder_of_model, is_offline
    from elmokit.checkpoints.registry import UNCHECKED
    from elmokit.checkpoints.transfer import DownloadError, verify

    cache = cache_folder()
    folder = folder_of_model(model, cache) if out is None else Path(out)
    try:
        paths = fetch_model(model, folder, cache=cache, offline=is_offline())
    except DownloadError as error:
        raise DownloadError(f"{model.name}: {error} ({UNCHECKED}; notes: {'; '.join(model.notes) or 'none'})") from error
    for path, file in zip(paths, [model.joined] if model.joined else model.files, strict=True):
        verify(path, file, str(path))
        _tell(path, file)
    for note in model.notes:
        print(f"note: {note}")
    print(f"license: {model.license or 'not known'}")


def _tell(path: Path, file: "RemoteFile") -> None:
    """A file's place, size and checksum, and what the checksum was compared with."""
    from elmokit.checkpoints.folder import sha256

    published = [kind for kind, value in (("SHA-256", file.sha256), ("MD5", file.md5), ("size", file.size)) if value is not None]
    compared = f"as published: {', '.join(published)}" if published else "no published checksum to compare with"
    print(f"{path}  {path.stat().st_size:,} bytes  SHA-256 {sha256(path)}  ({compared})")
