"""Our model folder.

    config.json             the configuration, how many parameters there are, the SHA-256 of the files below; `mixes` of the
                            layers that a task learned, if there are any
    model.safetensors       the biLM; `layer_means` if they were measured
    lm_head.safetensors     optional: the softmax, `weight` (V, P) and `bias` (V); without `weight` it is tied to the
                            table of words in the biLM
    vocab.txt               optional: the V words it predicts
    input_words.json        of a model that looks words up: the words with their ids
    input_characters.json   of a model that reads code points: these with their ids
    README.md               optional: the model card

All is checked before anything is built, and a folder is replaced in one step.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from elmokit.atomic import atomic_folder
from elmokit.checkpoints.checkpoint import TABLE, Checkpoint, LayerMix
from elmokit.checkpoints.files import read_json, refuse_other_contents
from elmokit.checkpoints.layout import bilm_layout
from elmokit.checkpoints.packed import AnyPath
from elmokit.checkpoints.packed_tensors import PackedTensors
from elmokit.checkpoints.tables import load_characters, load_words, save_characters, save_words
from elmokit.config import MODEL_TYPE, BiLMConfig, ElmoConfig
from elmokit.errors import FormatError
from elmokit.text.tables import PADDING, CharacterTable, WordTable
from elmokit.text.tokenizers import get_tokenizer
from elmokit.text.vocabulary import Vocabulary

CONFIG_NAME = "config.json"
MODEL_NAME = "model.safetensors"
HEAD_NAME = "lm_head.safetensors"
VOCABULARY_NAME = "vocab.txt"
INPUT_WORDS_NAME = "input_words.json"
INPUT_CHARACTERS_NAME = "input_characters.json"
CARD_NAME = "README.md"
FILE_NAMES = {CONFIG_NAME, MODEL_NAME, HEAD_NAME, VOCABULARY_NAME, INPUT_WORDS_NAME, INPUT_CHARACTERS_NAME, CARD_NAME}
"""All files that a model folder may have."""
_LAYER_MEANS = "layer_means"
_FLOATS = ("F16", "BF16", "F32", "F64")

StorageType = Literal["float32", "float16"]
Shapes = Iterable[tuple[str, tuple[int, ...]]]


def save_folder(checkpoint: Checkpoint, folder: str | Path, dtype: StorageType = "float32") -> None:
    """Write a model folder; an older one of that name is replaced in one step.

    Args:
        checkpoint: The model.
        folder: A new or empty folder, or a model folder.
        dtype: How numbers are stored: "float16" halves the size. The layer means stay float32.

    Raises:
        ValueError: `folder` is a file or holds files that are no part of a model folder; or a number is too large for float16.
    """
    folder = Path(folder)
    check_target(folder)
    with atomic_folder(folder) as temporary:
        tensors = _stored(checkpoint.bilm, dtype)
        if checkpoint.layer_means_LD is not None:
            tensors[_LAYER_MEANS] = checkpoint.layer_means_LD.detach().float().cpu().contiguous()
        _write(tensors, temporary / MODEL_NAME)
        if checkpoint.head is not None:
            stored = {"bias": checkpoint.head["bias"]} if checkpoint.tied else checkpoint.head
            _write(_stored(stored, dtype), temporary / HEAD_NAME)
        if checkpoint.vocabulary is not None:
            checkpoint.vocabulary.save(temporary / VOCABULARY_NAME)
        if checkpoint.input_words is not None:
            save_words(checkpoint.input_words, temporary / INPUT_WORDS_NAME)
        if checkpoint.input_characters is not None:
            save_characters(checkpoint.input_characters, temporary / INPUT_CHARACTERS_NAME)
        files = {path.name: sha256(path) for path in sorted(temporary.iterdir())}
        config = {**checkpoint.config.to_dict(), "parameters": checkpoint.parameters, "files": files}
        if checkpoint.mixes:
            config["mixes"] = [mix._asdict() for mix in checkpoint.mixes]
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (temporary / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")
        if checkpoint.card is not None:
            (temporary / CARD_NAME).write_text(checkpoint.card, encoding="utf-8")


def check_target(folder: Path) -> None:
    """Make sure that a model may be written here: nothing is there, an empty folder, or a model folder and nothing else.

    Whoever computes for hours before saving calls this first.

    Raises:
        ValueError: The folder and what it holds.
    """
    refuse_other_contents(folder, FILE_NAMES)
    if folder.exists() and any(folder.iterdir()) and not is_model_folder(folder):
        raise ValueError(f"{folder}: is no model folder, so it is not replaced; give a new or empty folder")


def load_folder(folder: str | AnyPath) -> Checkpoint:
    """Read a model folder.

    The files' SHA-256 and every tensor's name and shape are checked before anything is built. Half precision is
    widened to float32.

    The weights stay mapped to their file. To replace or remove the folder is fine; a program that overwrites or shortens the
    file in place, as `cp` does and `mv` does not, takes the weights from under every process that has the model loaded.

    Raises:
        ValueError: A file cannot be read.
        FormatError: The file, key or tensor that is missing, damaged or wrong, and what was expected.
    """
    folder = Path(folder) if isinstance(folder, str) else folder
    config_path = folder / CONFIG_NAME
    if not config_path.is_file():
        raise FormatError(f"{folder}: no model folder, {CONFIG_NAME} is missing")
    raw = read_json(config_path)
    config = ElmoConfig.from_dict(raw, str(config_path))
    _check_values(config, config_path)
    files = _check_files(folder, raw.get("files"), _needed(config.bilm))
    bilm, extra = _read_bilm(folder / MODEL_NAME, config.bilm)
    vocabulary = _read_vocabulary(folder / VOCABULARY_NAME) if VOCABULARY_NAME in files else None
    card_path = folder / CARD_NAME
    return Checkpoint(
        config=config,
        bilm=bilm,
        head=_read_head(folder, config.bilm, vocabulary, bilm) if HEAD_NAME in files else None,
        vocabulary=vocabulary,
        input_words=_read_input_words(folder, config.bilm),
        input_characters=_read_input_characters(folder, config.bilm),
        layer_means_LD=extra.get(_LAYER_MEANS),
        mixes=_read_mixes(raw.get("mixes", []), config.bilm, config_path),
        card=card_path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n") if card_path.is_file() else None,
        origin=f"model folder: {folder}",
    )


def is_model_folder(folder: AnyPath) -> bool:
    """Whether `config.json` says that the folder holds a model of ours; its other files are not looked at."""
    try:
        return read_json(folder / CONFIG_NAME).get("model_type") == MODEL_TYPE
    except ValueError:
        return False


def sha256(path: AnyPath) -> str:
    """Give the SHA-256 of a file's contents, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(tensors: dict[str, Tensor], dtype: StorageType) -> dict[str, Tensor]:
    """Bring tensors to the type in which they are stored."""
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stored[name] = tensor.detach().cpu().to(getattr(torch, dtype)).contiguous()
        if stored[name].isinf().any() and not tensor.isinf().any():
            raise ValueError(f"tensor {name} has values too large for {dtype}; save as float32")
    return stored


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file; by Python's own means, so that a full disk gives the usual OSError."""
    path.write_bytes(save(tensors, metadata={"format": "pt"}))


def _check_values(config: ElmoConfig, path: AnyPath) -> None:
    """Refuse an unknown tokenizer, and values of another type than their field's default has: JSON lets them be mixed up."""
    for part in (config.bilm.char_cnn, config.bilm, config.text):
        for field in dataclasses.fields(part) if part is not None else ():
            value: Any = getattr(part, field.name)
            wanted = type(field.default)
            if value is None or type(value) is wanted or (wanted is float and type(value) is int):
                continue
            if dataclasses.is_dataclass(value):
                continue
            raise FormatError(f"{path}: {field.name} is {value!r}, expected {wanted.__name__}")
    try:
        get_tokenizer(config.text.tokenizer)
    except ValueError as error:
        raise FormatError(f"{path}: {error}; a newer elmokit may know it") from error


def _needed(config: BiLMConfig) -> set[str]:
    """The files without which such a model cannot be."""
    code_points = config.char_cnn is not None and config.char_cnn.code_points is not None
    tables = [(INPUT_WORDS_NAME, config.word_table is not None), (INPUT_CHARACTERS_NAME, code_points)]
    return {MODEL_NAME, *(name for name, there in tables if there)}


def _check_files(folder: AnyPath, files: object, needed: set[str]) -> set[str]:
    """Compare each file's SHA-256 with the one in `config.json`; gives the files' names."""
    if not isinstance(files, dict) or not needed <= set(files) <= FILE_NAMES:
        names = ", ".join(sorted(needed))
        raise FormatError(f"{folder / CONFIG_NAME}: key files must give the SHA-256 of {names} and of all others")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise FormatError(f"{path}: missing, though {CONFIG_NAME} names it; copy the whole folder again")
        if sha256(path) != expected:
            raise FormatError(f"{path}: damaged or exchanged, its SHA-256 is not the one in {CONFIG_NAME}; copy it again")
    return set(files)


def _read_mixes(mixes: Any, config: BiLMConfig, path: AnyPath) -> tuple[LayerMix, ...]:
    """Read the mixes of layers."""
    found = []
    for mix in mixes if isinstance(mixes, list) else [mixes]:
        try:
            weights, gamma, layer_norm = mix["weights"], mix["gamma"], mix["layer_norm"]
            numbers = [float(number) for number in (gamma, *weights)]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FormatError(f"{path}: key mixes: {mix!r:.80} is no mix of layers") from error
        if len(weights) != config.layers + 1 or type(layer_norm) is not bool or not all(map(math.isfinite, numbers)):
            raise FormatError(f"{path}: key mixes: {mix!r:.80} is no mix of {config.layers + 1} layers")
        found.append(LayerMix(tuple(numbers[1:]), numbers[0], layer_norm))
    return tuple(found)


def _read_vocabulary(path: AnyPath) -> Vocabulary:
    """Read `vocab.txt`."""
    return Vocabulary.parse(path.read_bytes(), str(path))


def _read_input_words(folder: AnyPath, config: BiLMConfig) -> WordTable | None:
    """Read the table of a model that looks words up."""
    return load_words(folder / INPUT_WORDS_NAME, config.word_table.words) if config.word_table else None


def _read_input_characters(folder: AnyPath, config: BiLMConfig) -> CharacterTable | None:
    """Read the table of a model that reads code points."""
    cnn = config.char_cnn
    if cnn is None or cnn.code_points is None:
        return None
    path = folder / INPUT_CHARACTERS_NAME
    table = load_characters(path, cnn.characters, cnn.max_characters)
    if table.ids[PADDING] != cnn.padding:
        raise FormatError(f"{path}: the id of {PADDING} is {table.ids[PADDING]}, expected {cnn.padding} by {CONFIG_NAME}")
    return table


def _read_bilm(path: AnyPath, config: BiLMConfig) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Read the biLM's tensors, and apart from them the layer means, if any."""
    shapes = ((entry.name, entry.shape) for entry in bilm_layout(config))
    tensors = _read_tensors(path, shapes, {_LAYER_MEANS: (config.layers + 1, config.dim)})
    means = {name: tensors.pop(name) for name in [_LAYER_MEANS] if name in tensors}
    return tensors, means


def _read_head(folder: AnyPath, config: BiLMConfig, vocabulary: Vocabulary | None, bilm: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read the softmax, which needs the vocabulary that it is about."""
    path = folder / HEAD_NAME
    if vocabulary is None:
        raise FormatError(f"{path}: needs {VOCABULARY_NAME}, which {CONFIG_NAME} does not name")
    weight, bias = (len(vocabulary), config.output_dim), (len(vocabulary),)
    if config.char_cnn is None and bilm[TABLE].shape == weight:
        return {"weight": bilm[TABLE], **_read_tensors(path, [("bias", bias)], {"weight": weight})}
    return _read_tensors(path, [("weight", weight), ("bias", bias)], {})


def _read_tensors(path: AnyPath, required: Shapes, optional: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read tensors as float32, once all names and shapes are found right.

    What is float32 in the file stays there, mapped to memory privately: it is read when it is first used, and whoever
    changes a tensor changes a copy. Not so on Windows, which would not let a folder be replaced while it is mapped.
    """
    copy = os.name == "nt"
    try:
        with safe_open(path, framework="pt") if isinstance(path, Path) else PackedTensors(path.read_bytes()) as file:
            names = set(file.keys())
            found: list[str] = []
            for name, shape in chain(required, (item for item in optional.items() if item[0] in names)):
                if name not in names:
                    raise FormatError(f"{path}: tensor {name} is missing, expected shape {shape}")
                piece = file.get_slice(name)
                if tuple(piece.get_shape()) != shape or piece.get_dtype() not in _FLOATS:
                    kind = f"{piece.get_dtype()} {tuple(piece.get_shape())}"
                    raise FormatError(f"{path}: tensor {name} is {kind}, expected numbers of shape {shape} by {CONFIG_NAME}")
                found.append(name)
            others = sorted(names.difference(found))
            if others:
                raise FormatError(f"{path}: tensor {others[0]} has no place in the network that {CONFIG_NAME} describes")
            return {name: file.get_tensor(name).to(torch.float32, copy=copy) for name in found}
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: no safetensors file, or damaged or cut short ({error})") from error
