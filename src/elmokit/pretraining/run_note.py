"""The note of a run, `run.json`: what must be the same for the run to go on."""

import json
from collections.abc import Collection
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from elmokit.atomic import atomic_path
from elmokit.errors import FormatError
from elmokit.pretraining.options import PretrainOptions
from elmokit.text.vocabulary import Vocabulary

FORMAT = 2
"""Of the note: a higher one where the same options train otherwise than before."""
TEXT = ("train", "heldout", "text")
"""What the shards of a run are made of."""
RATE = "recipe.learning_rate"
"""What may be another when a run goes on: one whose loss is no number any more needs a lower one."""


def identity(options: PretrainOptions) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "format": FORMAT,
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
    with atomic_path(options.work / "run.json") as temporary:  # a run that goes on has one already, without which it is lost
        temporary.write_text(json.dumps(identity(options), indent=1), encoding="utf-8")


def has_begun(options: PretrainOptions) -> bool:
    """Tell whether there is a run that the next one goes on with."""
    return options.resume == "auto" and (options.work / "run.json").exists()


def check_same_run(options: PretrainOptions, names: Collection[str] | None = None) -> str:
    """Refuse to go on from the checkpoint of another run; it may have had another learning rate.

    Args:
        options: What is asked for now.
        names: Of what is compared; None: everything.

    Returns:
        What the learning rate was and is, if it differs, else "".

    Raises:
        ValueError: Names what differs.
        FormatError: The note of the earlier run is damaged, or of a version that trained otherwise.
    """
    path = options.work / "run.json"
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: the note of the earlier run cannot be read ({error}); --resume never begins anew") from error
    if before.get("format") != FORMAT:
        raise FormatError(f"{path}: an older elmokit began this run and trained otherwise; finish it there, or --resume never")
    now = json.loads(json.dumps(identity(options)))
    changed = _differences(before, {name: value for name, value in now.items() if names is None or name in names})
    others = [line for line in changed if line.split()[0] != RATE]
    if others:
        raise ValueError(
            f"{options.work} holds a run with other settings ({', '.join(others)}): give the same, another --out, "
            "or --resume never"
        )
    return "".join(changed).removeprefix("recipe.")


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Name what differs between two notes, with the values where they are short."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [line for key in now for line in _differences(before.get(key), now[key], f"{name}.{key}" if name else key)]
    if before == now:
        return []
    values = f"{name} was {before}, is {now}"
    return [values if len(values) <= 60 else name]
