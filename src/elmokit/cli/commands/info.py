"""`elmo info`: what a model is."""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmokit.cli.parameters import PathOrName

if TYPE_CHECKING:
    from elmokit.checkpoints.checkpoint import Checkpoint
    from elmokit.config import BiLMConfig

FILES_OF_MODELS = {".json", ".safetensors", ".hdf5", ".h5", ".pkl", ".dic", ".index", ".pb", ".th", ".txt", ".md"}


def info(model: PathOrName = "en-small", *, json: bool = False) -> None:
    """Say what a model is: format, sizes, layers, languages, license and checksums.

    Args:
        model: A bundled or published name, or a folder, archive or file of any known format.
        json: Print one JSON object instead of lines to read.

    Raises:
        FormatError: The model is damaged or of no known format.
        ValueError: There is no such model.
    """
    facts = describe(str(model))
    if json:
        print(json_module.dumps(facts, ensure_ascii=False, indent=2))
        return
    files = facts.pop("files")
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):{width}}  {_words(value)}")
    print("SHA-256")
    for name, file in files.items():
        print(f"  {name:{max(map(len, files))}}  {file['bytes']:>13,} bytes  {file['sha256']}")


def describe(model: str) -> dict[str, Any]:
    """Gather what `elmo info` prints.

    Args:
        model: As for `info`.

    Returns:
        What `json.dumps` takes; None stands for what the model does not say. `layer_mean_norms` are the lengths of the mean
        vectors that `center=True` subtracts, from the word layer up.
    """
    from elmokit.checkpoints.fetch import with_facts
    from elmokit.checkpoints.load import load_checkpoint, resolve_path

    path = resolve_path(model)
    checkpoint = with_facts(load_checkpoint(path), model)
    config, bilm, means = checkpoint.config, checkpoint.config.bilm, checkpoint.layer_means_LD
    return {
        "model": model,
        "format": checkpoint.origin,
        "dimension": bilm.dim,
        "layers": bilm.layers + 1,
        "bidirectional": bilm.bidirectional,
        "layer_mean_norms": None if means is None else [round(float(norm), 3) for norm in means.norm(dim=-1)],
        "parameters": checkpoint.parameters,
        "cell": bilm.cell_dim,
        "projection": bilm.projection_dim or "none",
        "reads": bilm.reads,
        **_word_sizes(bilm),
        **_mixes(checkpoint),
        "language_model": checkpoint.head is not None,
        "vocabulary": None if checkpoint.vocabulary is None else len(checkpoint.vocabulary),
        "tokenizer": config.text.tokenizer,
        "normalization": config.text.normalization,
        "lowercase": config.text.lowercase,
        "languages": list(config.languages) or None,
        "license": config.license,
        "files": {file.name: _measure(file) for file in _files(path)},
    }


def _word_sizes(bilm: "BiLMConfig") -> dict[str, Any]:
    """Sizes of what makes a word's vector."""
    sizes: dict[str, Any] = {}
    if bilm.word_table is not None:
        sizes["input_words"] = bilm.word_table.words
    if bilm.char_cnn is not None:
        sizes |= {"filters": [list(pair) for pair in bilm.char_cnn.filters], "highways": bilm.char_cnn.highways}
    return sizes


def _mixes(checkpoint: "Checkpoint") -> dict[str, Any]:
    """What tasks learned of the layers, if that came with the model."""
    mixes = [f"{mix.gamma:.4g}·softmax({', '.join(f'{weight:.4g}' for weight in mix.weights)})" for mix in checkpoint.mixes]
    return {"layer_mixes": mixes} if mixes else {}


def _files(path: Path) -> list[Path]:
    """The files of a model: all of a folder that may belong to one (a SavedModel has a folder in it), or the one file named."""
    from elmokit.checkpoints.tf_bundle import is_shard

    if not path.is_dir():
        return [path]
    files = [file for file in (*path.iterdir(), *(path / "variables").glob("*")) if file.is_file()]
    return sorted(file for file in files if file.suffix in FILES_OF_MODELS or is_shard(file.name))


def _measure(file: Path) -> dict[str, Any]:
    """Size and SHA-256."""
    from elmokit.checkpoints.folder import sha256

    return {"bytes": file.stat().st_size, "sha256": sha256(file)}


def _words(value: object) -> str:
    """A value as a reader wants it."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " ".join("×".join(map(str, entry)) if isinstance(entry, list) else str(entry) for entry in value)
    return str(value)
