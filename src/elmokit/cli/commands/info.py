"""`elmo info`: what a model is."""

import json as json_module
from pathlib import Path
from typing import Any

MEBIBYTE = 2**20


def info(model: str = "en-small", *, json: bool = False) -> None:
    """Say what a model is: format, sizes, layers, languages, licence and checksums.

    Args:
        model: A bundled name, a model folder, or a folder with `options.json` and an HDF5 weight file.
        json: Print one JSON object instead of lines to read.

    Raises:
        FormatError: The model is damaged or of no known format.
        ValueError: There is no such model.
    """
    facts = describe(model)
    if json:
        print(json_module.dumps(facts, ensure_ascii=False, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        lines = [f"{key}  {entry}" for key, entry in value.items()] if isinstance(value, dict) else [_line(value)]
        for i, line in enumerate(lines):
            print(f"{name if i == 0 else '':{width}}  {line}")


def describe(model: str) -> dict[str, Any]:
    """Gather what `elmo info` prints.

    Args:
        model: As for `info`.

    Returns:
        JSON-like values under the names that are printed.
    """
    from elmokit.checkpoints.load import load_checkpoint, resolve_path

    path = resolve_path(model)
    checkpoint = load_checkpoint(path)
    bilm, text = checkpoint.config.bilm, checkpoint.config.text
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    means = checkpoint.layer_means_LD
    return {
        "model": model,
        "origin": checkpoint.origin,
        "dimension": bilm.dim,
        "layers": f"{bilm.layers + 1} (words, then {bilm.layers} of LSTMs in both directions)",
        "cell": bilm.cell_dim,
        "projection": bilm.projection_dim,
        "filters": ", ".join(f"{number} of width {width}" for width, number in bilm.char_cnn.filters),
        "highways": bilm.char_cnn.highways,
        "parameters": checkpoint.parameters,
        "vocabulary": None if checkpoint.vocabulary is None else len(checkpoint.vocabulary),
        "language model": checkpoint.head is not None,
        "norm of each layer's mean": None if means is None else [round(float(norm), 3) for norm in means.norm(dim=-1)],
        "tokenizer": text.tokenizer,
        "normalization": text.normalization + (", lower case" if text.lowercase else ""),
        "languages": list(checkpoint.config.languages),
        "licence": checkpoint.config.license,
        "files (SHA-256)": {file.name: _checksum(file) for file in files},
    }


def _line(value: object) -> str:
    """A value as words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "unknown"
    return "unknown" if value is None else str(value)


def _checksum(file: Path) -> str:
    """Size and SHA-256 of a file."""
    from elmokit.checkpoints.folder import sha256

    return f"{file.stat().st_size / MEBIBYTE:8.2f} MiB  {sha256(file)}"
