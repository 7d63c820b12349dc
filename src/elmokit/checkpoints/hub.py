"""Models on the Hugging Face Hub, through its own client, which is imported when it is needed and not before.

A model is fetched in two steps: first what is small and says what the repository holds, then the weights. So whoever names a
transformer by mistake does not wait for its gigabytes before hearing that it is no ELMo.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elmokit.checkpoints.allennlp_archive import WEIGHTS_NAME as TASK_WEIGHTS_NAME
from elmokit.checkpoints.cache import is_offline
from elmokit.checkpoints.files import read_json
from elmokit.checkpoints.folder import CARD_NAME, CONFIG_NAME, FILE_NAMES
from elmokit.checkpoints.manylangs import FILE_NAMES as MANYLANGS_NAMES
from elmokit.config import MODEL_TYPE
from elmokit.errors import FormatError

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_ADDRESS = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<id>[^/?#]+/[^/?#]+?)/?(?:tree/(?P<revision>[^/?#]+)/?)?"
)
_SMALL = [CONFIG_NAME, "*options*.json", CARD_NAME, "meta.json"]
_MODEL = [
    *_SMALL,
    *sorted(FILE_NAMES),
    *("*.hdf5", "*.h5", "vocab*.txt", "vocab*.txt.gz"),
    *(*MANYLANGS_NAMES, "cnn_*.json"),
    *(TASK_WEIGHTS_NAME, "fta/*options_file"),
    *("checkpoint", "*.ckpt-*", "saved_model.pb", "variables/variables.*"),
    *("*.zip", "*.tar.gz", "*.tgz", "*.tar.bz2"),
]
_ARCHIVES = (".zip", ".gz", ".tgz", ".bz2")
_LICENSES = {
    *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "unlicense"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
}
"""The Hub's names of usual licences; a card that names one it does not know is refused. All others are `other` there."""
CARD = """---
library_name: elmokit
tags:
- elmo
{facts}---

# {name}

An ELMo model: context vectors of words.{license} With elmokit:

```python
from elmokit import Elmo

elmo = Elmo.from_pretrained("{repo_id}")
```
"""


def hub_id(name: str) -> tuple[str, str | None] | None:
    """Read `owner/name`, or the address of a repository's page: gives the id and the revision in the address, if any."""
    if address := _ADDRESS.fullmatch(name):
        return address["id"], address["revision"]
    return (name, None) if _ID.fullmatch(name) else None


def download_from_hub(
    repo_id: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
) -> Path:
    """Fetch a model of the Hub into the Hub's cache, or find it there.

    Args:
        repo_id: `owner/name`.
        revision: A branch, a tag or a commit; None for the main branch.
        cache_dir: The Hub's cache; None for where its client keeps it.
        local_files_only: Nothing is fetched; so too with `HF_HUB_OFFLINE=1`.
        token: For private models; None takes what `hf auth login` has stored.

    Returns:
        The folder with the model's files, or the archive that is all of it.

    Raises:
        ValueError: There is no such model or revision, or it cannot be had.
        FormatError: The repository holds something else than an ELMo.
    """
    from huggingface_hub import snapshot_download

    def fetch(patterns: list[str], revision: str | None) -> Path:
        folder = snapshot_download(
            repo_id,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=is_offline(local_files_only),
            token=token,
            allow_patterns=patterns,
        )
        return Path(folder)

    with _errors_in_words(repo_id, revision):
        small = fetch(_SMALL, revision)
        _check_kind(repo_id, small)
        folder = fetch(_MODEL, small.name)  # of the same commit, whose hash is the folder's name
    archives = [path for path in folder.iterdir() if path.suffix in _ARCHIVES and not path.name.startswith("vocab")]
    others = [path for path in folder.iterdir() if path not in archives and path.suffix not in (".md", "")]
    return archives[0] if len(archives) == 1 and not others else folder


def upload_to_hub(
    folder: Path,
    repo_id: str,
    *,
    languages: tuple[str, ...] = (),
    license: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    revision: str | None = None,
) -> str:
    """Upload a model folder; a card is written into it if it has none.

    Args:
        folder: A model folder.
        repo_id: `owner/name`; it is made if it is not there.
        languages: ISO 639 codes, for the card.
        license: The weights' licence, for the card; None if it is not known.
        private: Whether a repository that is made is private; None as the owner's settings say.
        token: One that may write; None takes what `hf auth login` has stored.
        commit_message: None for one that names elmokit.
        revision: The branch to write to; it is made if it is not there. None for the main branch.

    Returns:
        The address of the commit.

    Raises:
        ValueError: Not allowed, no connection, or no such owner.
    """
    if hub_id(repo_id) is None:
        raise ValueError(f"{repo_id}: expected owner/name, as the Hub names models")
    if is_offline():
        raise ValueError("push_to_hub: HF_HUB_OFFLINE is set, so nothing is sent; unset it to upload")
    card = folder / CARD_NAME
    if not card.exists():
        card.write_text(_new_card(repo_id, languages, license), encoding="utf-8")

    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="elmokit")
    with _errors_in_words(repo_id, revision):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=commit_message or "Upload a model with elmokit",
            revision=revision,
        )
    return commit.commit_url


def _new_card(repo_id: str, languages: tuple[str, ...], license: str | None) -> str:
    """Write a model's card: what the Hub reads in the head, and how to load it."""
    facts = ["language:", *(f"- {language}" for language in languages)] if languages else []
    if license is not None:
        name = re.sub(r"[^a-z0-9.]+", "-", license.lower()).strip("-")
        facts += [f"license: {name}"] if name in _LICENSES else ["license: other", f'license_name: "{name}"']
    return CARD.format(
        facts="".join(f"{fact}\n" for fact in facts),
        name=repo_id.split("/")[1],
        repo_id=repo_id,
        license="" if license is None else f" Its licence: {' '.join(license.split())}.",
    )


def _check_kind(repo_id: str, folder: Path) -> None:
    """Decline a repository whose `config.json` says that it is something else; ELMoForManyLangs' has no `model_type`."""
    config = folder / CONFIG_NAME
    kind = read_json(config).get("model_type") if config.exists() else None
    if kind not in (None, MODEL_TYPE):
        raise FormatError(f"{repo_id}: is a model of the type {kind!r}, not an ELMo")


@contextmanager
def _errors_in_words(repo_id: str, revision: str | None) -> Iterator[None]:
    """Say what the Hub's errors mean in one line."""
    from huggingface_hub import errors

    # The first is the base of all failures of its HTTP library, whichever that is; OSError are those of the network.
    transport = (*errors.HfHubHTTPError.__bases__, OSError)
    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(f"{repo_id}: its owner asks who you are; accept the terms on its page and give a token") from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"{repo_id}: the Hub has no such model, or it is private: give a token with access (token=…, or `hf auth login`)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{repo_id}: has no revision {revision}; see its page for branches and tags") from error
    except errors.LocalEntryNotFoundError as error:
        if is_offline():
            reason = "HF_HUB_OFFLINE=1"
        else:
            reason = "local_files_only" if error.__cause__ is None else "no connection to the Hub"
        raise ValueError(f"{repo_id}: not in the Hub's cache on this machine, and not fetched ({reason})") from error
    except errors.HfHubHTTPError as error:
        raise ValueError(f"{repo_id}: {str(error).splitlines()[0]}") from error
    except Exception as error:
        of_the_disk = isinstance(error, OSError) and error.filename is not None
        if of_the_disk or not isinstance(error, transport):
            raise
        raise ValueError(f"{repo_id}: the Hub could not be reached ({str(error) or type(error).__name__})") from error
