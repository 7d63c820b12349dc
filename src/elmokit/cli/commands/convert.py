"""`elmo convert`: a model from one format to another."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from elmokit.cli.parameters import PathOrName, check_language
from elmokit.config import Normalization

if TYPE_CHECKING:
    from elmokit.checkpoints.checkpoint import Checkpoint


def convert(
    source: PathOrName,
    target: PathOrName,
    *,
    to: Literal["folder", "allennlp", "manylangs"] = "folder",
    dtype: Literal["float32", "float16"] = "float32",
    tokenizer: str | None = None,
    normalization: Normalization | None = None,
    lowercase: bool | None = None,
    languages: list[str] | None = None,
    license: str | None = None,
) -> None:
    """Turn a model of any known format into a model folder, or into one of two published layouts.

    What the new format cannot hold is said. What the old one does not say (the tokenizer, for one) may be given.

    Args:
        source: A bundled or published name, or a folder, archive or file of any known format.
        target: The folder to write: new or empty, or one written by this command before, which is replaced.
        to: `folder` for a model folder of elmokit, `allennlp` for `options.json` and `weights.hdf5`, `manylangs` for the
            files of ELMoForManyLangs, if the model came from there.
        dtype: How a model folder stores its numbers: float16 halves the size. The published layouts are always float32.
        tokenizer: How text was split in training: `whitespace`, `words` or `characters`; by default as the source says,
            else `words`.
        normalization: Unicode normalization of the training text; by default as the source says, else `none`.
        lowercase: Whether the training text was lowercased; by default as the source says, else not.
        languages: ISO 639 codes of the languages trained on; the option is given once for each.
        license: The weights' licence.

    Raises:
        FormatError: The source is damaged or of no known format.
        ValueError: There is no such source; the target holds other things; an option is wrong or the
            target's format cannot hold it.
    """
    target = Path(target)
    text = {"tokenizer": tokenizer, "normalization": normalization, "lowercase": lowercase}
    text = {name: value for name, value in text.items() if value is not None}
    about = {name: value for name, value in {"languages": tuple(languages or ()), "license": license}.items() if value}
    _check(to, dtype, text, about)

    from elmokit.checkpoints.folder import save_folder
    from elmokit.checkpoints.hdf5 import save_hdf5
    from elmokit.checkpoints.load import load_checkpoint
    from elmokit.checkpoints.manylangs import save_manylangs

    checkpoint = _changed(load_checkpoint(source), text, about)
    if to == "allennlp":
        save_hdf5(checkpoint, target)
    elif to == "manylangs":
        save_manylangs(checkpoint, target)
    else:
        save_folder(checkpoint, target, dtype)
    for path in sorted(target.iterdir()):
        print(f"{path}  {path.stat().st_size:,} bytes")


def _check(to: str, dtype: str, text: dict[str, Any], about: dict[str, Any]) -> None:
    """Refuse what can be refused before the model is read."""
    from elmokit.text.tokenizers import get_tokenizer

    for code in about.get("languages", ()):
        check_language("--languages", code)
    if "tokenizer" in text:
        get_tokenizer(text["tokenizer"])
    unheld = [*text, *about, *(["dtype"] if dtype != "float32" else [])]
    if to != "folder" and unheld:
        raise ValueError(f"--{unheld[0]}: the published layout (--to {to}) cannot hold it; leave it out")


def _changed(checkpoint: "Checkpoint", text: dict[str, Any], about: dict[str, Any]) -> "Checkpoint":
    """Put in what the user knows of the model."""
    config = checkpoint.config
    return replace(checkpoint, config=replace(config, text=replace(config.text, **text), **about))
