"""The layout of ELMoForManyLangs (Che et al. 2018), 44 languages.

    config.json           `config_path`, often a path on the machine that trained it: its last part counts
    cnn_….json            the architecture, by the name in `config_path`; without it, that of the published models
    char.dic, word.dic    code points and words with their ids
    token_embedder.pkl    what makes a word's vector
    encoder.pkl           the LSTMs

Its network is ours but for the order in which numbers stand, so that reading and writing lose no bit:

    gates       i, f, g, o there; i, g, f, o here, and nothing is added to f (`forget_bias` 0)
    highways    y = g·x + (1 − g)·relu(…) there, [transform | gate] in one matrix; here g weighs the other part: −W, −b

How text became words is not said; our default, `words`, stays: unlike cutting at white space it makes something of any
string, Chinese among them. Whoever has words gives these (`encode_tokens`), as its users always did.

What its program does not use at inference (seed, dropout, the softmax's settings) is not kept; nor is a `word.dic` that
lies beside a model which reads code points alone.
"""

import json
import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import torch

from elmokit.atomic import atomic_folder
from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.dictionaries import dictionary_bytes, load_dictionary
from elmokit.checkpoints.files import read_json, refuse_other_contents
from elmokit.checkpoints.manylangs_tensors import CHARACTER_ROWS, WORD_ROWS, StateDict, from_theirs, to_theirs
from elmokit.checkpoints.options import Getter
from elmokit.checkpoints.packed import AnyPath
from elmokit.checkpoints.pickles import load_state_dict
from elmokit.config import PUBLISHED_FILTERS, BiLMConfig, CharCnnConfig, CodePointsConfig, ElmoConfig, WordTableConfig
from elmokit.errors import FormatError
from elmokit.text.tables import MANYLANGS_MARKS, PADDING, CharacterTable, WordTable

CONFIG_NAME: Final = "config.json"
CHARACTERS_NAME: Final = "char.dic"
WORDS_NAME: Final = "word.dic"
TOKEN_EMBEDDER_NAME: Final = "token_embedder.pkl"
ENCODER_NAME: Final = "encoder.pkl"
FILE_NAMES: Final = (CHARACTERS_NAME, WORDS_NAME, TOKEN_EMBEDDER_NAME, ENCODER_NAME)
"""Files by any of which the layout is known."""
_ARCHITECTURE_NAME = "cnn_config.json"
_META_NAME = "meta.json"
PUBLISHED_ARCHITECTURE: Final[dict[str, Any]] = {
    "encoder": {"name": "elmo", "projection_dim": 512, "cell_clip": 3, "proj_clip": 3, "dim": 4096, "n_layers": 2},
    "token_embedder": {
        "name": "cnn",
        "activation": "relu",
        "filters": [list(pair) for pair in PUBLISHED_FILTERS],
        "n_highway": 2,
        "word_dim": 100,
        "char_dim": 50,
        "max_characters_per_token": 50,
    },
    "classifier": {"name": "sampled_softmax", "n_samples": 8192},
    "dropout": 0.1,
}
"""Of the models of all 44 languages; the last two keys serve training alone."""


def load_manylangs(folder: AnyPath) -> Checkpoint:
    """Read a model.

    Warns (UserWarning) where it is the Chinese one, which expects traditional characters: its languages are ("zh-Hant",).

    Raises:
        ValueError: A file cannot be read.
        FormatError: The file, and the key, line or tensor that is missing, damaged or wrong.
    """
    architecture, path = _architecture(folder)
    said = path.name != CONFIG_NAME
    by = path.name if said else "the published architecture (the file that config.json names is not there)"
    vectors, lstms = (StateDict(load_state_dict(folder / n), folder / n, by) for n in (TOKEN_EMBEDDER_NAME, ENCODER_NAME))
    get = Getter(architecture, path)
    words = _read_words(folder / WORDS_NAME, get, vectors)
    characters = _read_characters(folder / CHARACTERS_NAME, get, vectors)
    config = _read_config(get, vectors, characters)
    languages = _languages(folder)
    return Checkpoint(
        config=ElmoConfig(bilm=config, languages=languages),
        bilm=from_theirs(config, vectors, lstms),
        input_words=words,
        input_characters=characters,
        origin=f"ELMoForManyLangs: {folder}" + ("" if said else " (architecture as published)"),
    )


def save_manylangs(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a model that came from this layout.

    Warns (UserWarning) of what the layout cannot hold.

    Args:
        checkpoint: The model.
        folder: A new or empty folder, or one that holds files of these names alone, which are replaced.

    Raises:
        ValueError: `folder` is a file or holds anything else; or the model is of another kind.
    """
    refuse_other_contents(folder, {CONFIG_NAME, _ARCHITECTURE_NAME, *FILE_NAMES})
    architecture = _write_config(checkpoint)
    vectors, lstms = to_theirs(checkpoint.config.bilm, checkpoint.bilm)
    with atomic_folder(folder) as temporary:
        for name, data in ((CONFIG_NAME, {"config_path": _ARCHITECTURE_NAME}), (_ARCHITECTURE_NAME, architecture)):
            (temporary / name).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        for name, table in ((CHARACTERS_NAME, checkpoint.input_characters), (WORDS_NAME, checkpoint.input_words)):
            if table is not None:
                (temporary / name).write_bytes(dictionary_bytes(dict(table.ids), name))
        for name, tensors in ((TOKEN_EMBEDDER_NAME, vectors), (ENCODER_NAME, lstms)):
            buffer = BytesIO()
            torch.save(tensors, buffer, _use_new_zipfile_serialization=False)  # what their PyTorch of 2018 reads
            (temporary / name).write_bytes(buffer.getbuffer())
    checkpoint.warn_of_losses(folder, "the layout of ELMoForManyLangs")


def _architecture(folder: AnyPath) -> tuple[dict[str, Any], AnyPath]:
    """Find the architecture, and the file that says it: `config.json` itself if it is just as published."""
    path = folder / CONFIG_NAME
    named = read_json(path).get("config_path")
    if not isinstance(named, str):
        raise FormatError(f"{path}: key config_path is {named!r:.80}, expected the path of the architecture's file")
    beside = folder / (re.split(r"[/\\]", named)[-1] or "-")
    if beside.name != CONFIG_NAME and beside.is_file():
        return read_json(beside), beside
    return PUBLISHED_ARCHITECTURE, path


def _read_words(path: AnyPath, get: Getter, vectors: StateDict) -> WordTable | None:
    """Read the words that the model looks up, if it does."""
    if not get.integer("token_embedder.word_dim"):
        return None
    ids = load_dictionary(path, vectors.rows(WORD_ROWS))
    try:
        return WordTable(ids, MANYLANGS_MARKS, get.integer("token_embedder.max_characters_per_token") - 2)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _read_characters(path: AnyPath, get: Getter, vectors: StateDict) -> CharacterTable | None:
    """Read the code points that the model knows, if it reads any."""
    if not get.integer("token_embedder.char_dim"):
        return None
    ids = load_dictionary(path, vectors.rows(CHARACTER_ROWS))
    try:
        return CharacterTable(ids, get.integer("token_embedder.max_characters_per_token"))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _read_config(get: Getter, vectors: StateDict, characters: CharacterTable | None) -> BiLMConfig:
    """Make our configuration of theirs."""
    word_dim = get.integer("token_embedder.word_dim")
    for key, known in (("encoder.name", "elmo"), ("token_embedder.name", "cnn")):
        if get.value(key, repr(known)) != known:
            raise FormatError(f"{get.path}: key {key} is {get.value(key, known)!r:.80}; only models with {known!r} are read")
    try:
        return BiLMConfig(
            char_cnn=None if characters is None else _read_char_cnn(get, vectors, characters),
            word_table=WordTableConfig(words=vectors.rows(WORD_ROWS), dim=word_dim, projection=True) if word_dim else None,
            cell_dim=get.integer("encoder.dim"),
            projection_dim=get.integer("encoder.projection_dim"),
            layers=get.integer("encoder.n_layers"),
            cell_clip=get.clip("encoder.cell_clip"),
            projection_clip=get.clip("encoder.proj_clip"),
            forget_bias=0.0,
        )
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{get.path}: {error}") from error


def _read_char_cnn(get: Getter, vectors: StateDict, characters: CharacterTable) -> CharCnnConfig:
    """The part about characters."""
    return CharCnnConfig(
        embedding_dim=get.integer("token_embedder.char_dim"),
        filters=get.filters("token_embedder.filters"),
        activation=get.value("token_embedder.activation", "relu or tanh"),
        highways=get.integer("token_embedder.n_highway"),
        max_characters=characters.max_characters,
        code_points=CodePointsConfig(characters=vectors.rows(CHARACTER_ROWS), padding=characters.ids[PADDING]),
    )


def _write_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Make their architecture of our configuration.

    Raises:
        ValueError: The model is of another kind than theirs.
    """
    checkpoint.refuse_one_direction("the layout of ELMoForManyLangs")
    config, words = checkpoint.config.bilm, checkpoint.input_words
    cnn, table = config.char_cnn, config.word_table
    places = cnn.max_characters if cnn else (words.longest or 0) + 2 if words else 0
    is_theirs = (
        config.forget_bias == 0
        and config.skip_connections
        and config.projection_dim is not None
        and (cnn is None or (cnn.code_points is not None and cnn.projection))
        and (table is None or (table.projection and words is not None))
        and (words is None or (words.marks == MANYLANGS_MARKS and words.longest == places - 2))
    )
    if not is_theirs:
        raise ValueError(
            f"{checkpoint.origin}: only a model that came from the layout of ELMoForManyLangs can be written in it; this one "
            f"reads {config.reads}, and its network is another"
        )
    encoder = {"name": "elmo", "projection_dim": config.projection_dim, "cell_clip": config.cell_clip}
    encoder |= {"proj_clip": config.projection_clip, "dim": config.cell_dim, "n_layers": config.layers}
    embedder = PUBLISHED_ARCHITECTURE["token_embedder"] | {"word_dim": table.dim if table else 0, "char_dim": 0}
    if cnn is not None:
        embedder |= {"activation": cnn.activation, "filters": [list(pair) for pair in cnn.filters]}
        embedder |= {"n_highway": cnn.highways, "char_dim": cnn.embedding_dim}
    embedder |= {"max_characters_per_token": places}
    return PUBLISHED_ARCHITECTURE | {"encoder": encoder, "token_embedder": embedder}


def _languages(folder: AnyPath) -> tuple[str, ...]:
    """The languages: as NLPL's `meta.json` says if it lies there, but the Chinese model's is told from its name too.

    Says what that one expects; a model folder made of it keeps that in its language code.
    """
    languages = _languages_said(folder / _META_NAME)
    name = re.split(r"[/\\]", str(folder).rstrip("/\\"))[-1].lower()
    by_name = name.split(".")[0] == "179" or {"zh", "zht", "zho", "chinese"} & set(re.split("[^a-z]+", name))
    if not by_name and not {"zh", "zho", "chi"} & set(languages):
        return languages
    warnings.warn(
        f"{folder}: the Chinese model of ELMoForManyLangs was trained on traditional characters; convert simplified text "
        "before you embed it",
        UserWarning,
        stacklevel=4,
    )
    return ("zh-Hant",)


def _languages_said(path: AnyPath) -> tuple[str, ...]:
    """The languages that `meta.json` names; it is no part of the model, so nothing is required of it."""
    try:
        corpora = read_json(path).get("corpus")
    except ValueError:
        return ()
    found = [corpus.get("language") for corpus in corpora if isinstance(corpus, dict)] if isinstance(corpora, list) else []
    codes = [code for code in found if isinstance(code, str) and re.fullmatch("[a-z]{2,3}", code)]
    return tuple(dict.fromkeys(codes))
