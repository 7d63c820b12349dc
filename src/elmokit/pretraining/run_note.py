"""The note of a run, `run.json`: what must be the same for the run to go on."""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from elmokit.errors import FormatError
from elmokit.pretraining.options import PretrainOptions
from elmokit.text.vocabulary import Vocabulary


def identity(options: PretrainOptions) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "bilm": options.bilm.to_dict() | {"bidirectional": options.bilm.bidirectional},
        "read": options.read,
        "text": asdict(options.text),
        "recipe": asdict(options.recipe),
        "vocabulary_size": options.vocabulary_size,
        "vocabulary": options.vocabulary and _hash(options.vocabulary),
        "seed": options.seed,
        "shuffle": options.shuffle,
        "train": options.train.fingerprint(),
        "heldout": options.heldout and options.heldout.fingerprint(),
        "start": options.start and options.start.identity,
    }


def _hash(vocabulary: Vocabulary) -> str:
    """A short sign of some words in their order."""
    return sha256("\n".join(vocabulary.words).encode("utf-8", "surrogatepass")).hexdigest()


def note_run(options: PretrainOptions) -> None:
    """Write what a later call must have the same."""
    (options.work / "run.json").write_text(json.dumps(identity(options), indent=1), encoding="utf-8")


def check_same_run(options: PretrainOptions) -> None:
    """Refuse to go on from the checkpoint of another run.

    Raises:
        ValueError: Names what differs.
        FormatError: The note of the earlier run is damaged.
    """
    path = options.work / "run.json"
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: the note of the earlier run cannot be read ({error}); --resume never begins anew") from error
    changed = _differences(before, json.loads(json.dumps(identity(options))))
    if changed:
        raise ValueError(
            f"{options.work} holds a run with other settings ({', '.join(changed)}): give the same, another --out, "
            "or --resume never"
        )


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Name what differs between two notes, with the values where they are short; what the older one lacks is not compared."""
    if isinstance(before, dict) and isinstance(now, dict):
        shared = [key for key in now if key in before]
        return [line for key in shared for line in _differences(before[key], now[key], f"{name}.{key}" if name else key)]
    if before == now:
        return []
    values = f"{name} was {before}, is {now}"
    return [values if len(values) <= 60 else name]
