"""Names that are no path: a published model, an address, a model of the Hub → files on this machine."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from elmokit.checkpoints.cache import cache_folder, fetch_model, fetch_one, fetch_url, folder_of_model, is_offline
from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.hub import download_from_hub, hub_id
from elmokit.checkpoints.published import PublishedModel
from elmokit.checkpoints.registry import canonical_url, find_model, similar_names
from elmokit.checkpoints.transfer import DownloadError

_ADDRESS = re.compile(r"(?P<scheme>https?|s3):/+(?=[^/])", re.IGNORECASE)
_FILES = {".json", ".hdf5", ".h5", ".zip", ".gz", ".tgz", ".bz2", ".tar", ".safetensors", ".index", ".pb", ".pkl", ".txt"}
_PARTNERS = {".hdf5": ("weights", "options", ".json"), ".json": ("options", "weights", ".hdf5")}


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a model that is not on this machine may be had."""

    revision: str | None = None
    """Of a model on the Hub: a branch, a tag or a commit."""
    cache_dir: str | Path | None = None
    """Where fetched models are kept; None for the Hub's own cache, or elmokit's for the published models."""
    local_files_only: bool = False
    """Nothing is fetched."""
    token: str | None = None
    """For private models of the Hub."""


def locate(name: str, source: Source) -> Path | None:
    """Fetch what a name stands for, or find it in a cache.

    Args:
        name: A published model's name, an address, or a Hub id (`owner/name`).
        source: Where it may come from.

    Returns:
        The file or folder to load; None if the name is none of these.

    Raises:
        ValueError: It cannot be had.
    """
    name = as_address(name)
    if model := find_model(name):
        if source.revision is not None:
            raise ValueError(f"revision is for models of the Hub, and {name} is not one of them; leave it out")
        return _published(model, source)
    if hub := hub_id(name):
        repo_id, revision = hub
        if "://" not in name and (Path(name).parent.exists() or PurePosixPath(name).suffix in _FILES):
            return None  # a mistyped path
        return _of_hub(repo_id, source.revision or revision, source)
    if name.startswith(("http://", "https://")):
        return _of_address(name, source)
    return None


def fetch_published_file(url: str, *, cache_dir: str | Path | None = None, local_files_only: bool = False) -> Path:
    """Give one file for the address of one file, as AllenNLP's `cached_path` did.

    Args:
        url: An http(s) address. If a published model has it (in either form of AllenNLP's addresses), only this file of
            the model is fetched, to where the whole model's place is.
        cache_dir: Where fetched models are kept.
        local_files_only: Nothing is fetched.

    Raises:
        ValueError: It cannot be had.
    """
    cache, offline = cache_folder(cache_dir), is_offline(local_files_only)
    address = canonical_url(as_address(url))
    model = find_model(address)
    if model is None:
        return fetch_url(address, cache=cache, offline=offline)
    file = next(file for file in model.files if address in file.urls)
    return fetch_one(file, folder_of_model(model, cache), cache=cache, offline=offline)


def as_address(name: str) -> str:
    """Mend an address that went through `Path`, which takes one slash of `https://` away."""
    return _ADDRESS.sub(lambda found: f"{found['scheme'].lower()}://", name, count=1) if _ADDRESS.match(name) else name


def with_facts(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Fill in what the registry knows of a model and its files do not say: languages and licence."""
    model = find_model(as_address(name))
    if model is None:
        return checkpoint
    config = checkpoint.config
    config = dataclasses.replace(config, languages=config.languages or model.languages, license=config.license or model.license)
    return dataclasses.replace(checkpoint, config=config, origin=f"{model.name}: {checkpoint.origin}")


def _published(model: PublishedModel, source: Source) -> Path:
    """A model of the registry: its folder, or the archive that is all of it."""
    cache = cache_folder(source.cache_dir)
    folder = folder_of_model(model, cache)
    try:
        paths = fetch_model(model, folder, cache=cache, offline=is_offline(source.local_files_only))
    except DownloadError as error:
        notes = "".join(f"; {note}" for note in model.notes if "dead" in note)
        raise DownloadError(f"{model.name}: {error}{notes}") from error
    return paths[0] if len(paths) == 1 else folder


def _of_hub(repo_id: str, revision: str | None, source: Source) -> Path:
    """A model of the Hub; if there is none, a name of the registry may have been meant."""
    try:
        return download_from_hub(
            repo_id,
            revision=revision,
            cache_dir=source.cache_dir,
            local_files_only=source.local_files_only,
            token=source.token,
        )
    except ValueError as error:
        similar = similar_names(repo_id)
        others = f"Published models with a name like it: {', '.join(similar)}" if similar else "`elmo models` lists what is known"
        raise ValueError(f"{error}. Nor is there a file or folder of this name. {others}") from error


def _of_address(url: str, source: Source) -> Path:
    """A file somewhere; options bring their weights with them, and weights their options."""
    cache, offline = cache_folder(source.cache_dir), is_offline(source.local_files_only)
    path = fetch_url(url, cache=cache, offline=offline)
    name = PurePosixPath(unquote(urlsplit(url).path))
    if name.suffix in _PARTNERS:
        own, other, suffix = _PARTNERS[name.suffix]
        if own in name.stem:
            partner = name.with_name(name.stem.replace(own, other) + suffix)
            fetch_url(urlsplit(url)._replace(path=str(partner)).geturl(), cache=cache, offline=offline)
    return path
