"""`elmo models`: which models are known by name."""

import json as json_module
from typing import Any


def models(*, language: str | None = None, json: bool = False) -> None:
    """List the models known by name: those that ship, and the published ones that `elmo download` can fetch.

    Args:
        language: Only those of this language, an ISO 639 code: zh finds zh-Hant too.
        json: Print one JSON list, with addresses and checksums, instead of a table.

    Raises:
        ValueError: No known model is of this language.
    """
    from elmokit.checkpoints.registry import UNCHECKED

    entries = known_models(language)
    if language is not None and not entries:
        raise ValueError(f"--language: no known model of {language!r}; `elmo models` lists all")
    if json:
        print(json_module.dumps(entries, ensure_ascii=False, indent=2))
        return
    rows = [("name", "languages", "format", "license", "notes")]
    for entry in entries:
        notes = "; ".join(["here already"] * entry["here"] + entry["notes"])
        rows.append((entry["name"], " ".join(entry["languages"]) or "-", entry["format"], entry["license"] or "not known", notes))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for row in rows:
        print(*(f"{cell:{width}}" for cell, width in zip(row[:-1], widths, strict=True)), row[-1], sep="  ")
    print(f"\n{len(entries)} models; for published ones {UNCHECKED}. `elmo download NAME` fetches one, --json tells all of it.")


def known_models(language: str | None = None) -> list[dict[str, Any]]:
    """Gather what `elmo models` prints.

    Args:
        language: As for `models`.

    Returns:
        What `json.dumps` takes, one entry a model; None stands for what is not known.
    """
    from elmokit.checkpoints.cache import cache_folder, fetched
    from elmokit.checkpoints.registry import published_models

    cache = cache_folder()
    published = [
        {
            "name": model.name,
            "languages": list(model.languages),
            "format": model.format,
            "license": model.license,
            "here": fetched(model, cache),
            "notes": list(model.notes),
            "files": [
                {"name": file.name, "urls": list(file.urls), "bytes": file.size, "sha256": file.sha256, "md5": file.md5}
                for file in model.files
            ],
        }
        for model in published_models().values()
    ]
    return [entry for entry in [*_bundled(), *published] if language is None or _speaks(entry, language)]


def _bundled() -> list[dict[str, Any]]:
    """The models that ship, by what their configuration says; their weights are not read."""
    from elmokit.checkpoints.load import bundled_names, resolve_path

    entries = []
    for name in bundled_names():
        config = json_module.loads((resolve_path(name) / "config.json").read_text(encoding="utf-8"))
        facts = {"name": name, "languages": config["languages"], "format": "model folder", "license": config["license"]}
        entries.append({**facts, "here": True, "notes": ["ships with elmokit"], "files": []})
    return entries


def _speaks(entry: dict[str, Any], language: str) -> bool:
    """Whether a model is of a language, whatever the script or region."""
    return any(code == language or code.startswith(f"{language}-") for code in entry["languages"])
