"""`options.json` of the published layout ↔ `BiLMConfig`.

The keys, as bilm-tf and AllenNLP read them (what else is there is ignored):

    lstm            dim, n_layers, use_skip_connections; projection_dim, cell_clip, proj_clip: absent or null for none
    char_cnn        embedding.dim, filters, activation, max_characters_per_token; n_highway: absent or null for none
    bidirectional   false: if there are no backward weights, the model reads forward alone, as bilm-tf trains it then

`n_characters` is 261 or 262 and means nothing. A model that reads whole words has a dataset `embedding` and no
`char_embed`; then `char_cnn` is mostly absent, and means nothing if it is there.
"""

from collections.abc import Mapping
from typing import Any

from elmokit.checkpoints.layout import CNN_PROJECTION, EMBEDDING, WORD_EMBEDDING, lstm_group
from elmokit.checkpoints.packed import AnyPath
from elmokit.config import LARGEST, BiLMConfig, CharCnnConfig, WordTableConfig
from elmokit.errors import FormatError


def read_bilm_config(options: dict[str, Any], path: AnyPath, datasets: Mapping[str, tuple[int, ...]]) -> BiLMConfig:
    """Find out which network an `options.json` and its datasets describe.

    bilm-tf leaves a projection out where it would not change the width, without saying so in the options: whether
    it is there is read off the datasets.

    Args:
        options: What the file holds.
        path: The file's name, for messages.
        datasets: Names and shapes of the datasets in the weight file.

    Raises:
        FormatError: The file and the key that is missing or wrong, and what it may be.
    """
    get = Getter(options, path)
    cell_dim = get.integer("lstm.dim")
    projection_dim = get.integer("lstm.projection_dim", optional=True)
    if projection_dim == cell_dim and f"{lstm_group(0, 0)}/W_P_0" not in datasets:
        projection_dim = None
    width, table = projection_dim or cell_dim, datasets.get(WORD_EMBEDDING)
    reads_words = table is not None and EMBEDDING not in datasets
    try:
        return BiLMConfig(
            char_cnn=None if reads_words else _read_char_cnn(get, width, CNN_PROJECTION in datasets),
            word_table=WordTableConfig(words=table[0], dim=width) if reads_words and table else None,
            cell_dim=cell_dim,
            projection_dim=projection_dim,
            layers=get.integer("lstm.n_layers"),
            cell_clip=get.clip("lstm.cell_clip"),
            projection_clip=get.clip("lstm.proj_clip"),
            skip_connections=get.boolean("lstm.use_skip_connections"),
            bidirectional=options.get("bidirectional") is not False or f"{lstm_group(1, 0)}/W_0" in datasets,
        )
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _read_char_cnn(get: "Getter", width: int, has_projection: bool) -> CharCnnConfig:
    """Read the part about characters."""
    filters = get.filters("char_cnn.filters")
    return CharCnnConfig(
        embedding_dim=get.integer("char_cnn.embedding.dim"),
        filters=filters,
        activation=get.value("char_cnn.activation", "relu or tanh"),
        highways=get.integer("char_cnn.n_highway", optional=True) or 0,
        projection=has_projection or sum(n for _, n in filters) != width,
        max_characters=get.integer("char_cnn.max_characters_per_token"),
    )


def make_options(config: BiLMConfig) -> dict[str, Any]:
    """Give the `options.json` that bilm-tf and AllenNLP read at inference."""
    words = {"n_tokens_vocab": config.word_table.words} if config.word_table else _make_char_cnn(config.byte_cnn)
    return words | {
        "lstm": {
            "dim": config.cell_dim,
            "projection_dim": config.output_dim,
            "n_layers": config.layers,
            "cell_clip": config.cell_clip,
            "proj_clip": config.projection_clip,
            "use_skip_connections": config.skip_connections,
        }
    }


def _make_char_cnn(char_cnn: CharCnnConfig) -> dict[str, Any]:
    """The part about characters."""
    return {
        "char_cnn": {
            "embedding": {"dim": char_cnn.embedding_dim},
            "filters": [list(pair) for pair in char_cnn.filters],
            "n_highway": char_cnn.highways,
            "activation": char_cnn.activation,
            "max_characters_per_token": char_cnn.max_characters,
            "n_characters": 262,
        },
    }


class Getter:
    """Typed look-ups that name the file and the key when something is wrong.

    Args:
        options: What a JSON file holds.
        path: Its name, for messages.
    """

    def __init__(self, options: dict[str, Any], path: AnyPath) -> None:
        self.options = options
        self.path = path

    def value(self, key: str, expected: str, optional: bool = False) -> Any:
        """What stands at the dotted `key`; None if it is absent and may be."""
        value: Any = self.options
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None and not optional:
            raise self.wrong(key, "missing or null", expected)
        return value

    def wrong(self, key: str, found: object, expected: str) -> FormatError:
        """The error that says what stands at a key and what should."""
        return FormatError(f"{self.path}: key {key} is {found}, expected {expected}")

    def integer(self, key: str, optional: bool = False) -> Any:
        """A whole number; None if it is absent and may be."""
        value = self.value(key, "a whole number", optional)
        if value is not None and type(value) is not int:
            raise self.wrong(key, repr(value)[:80], "a whole number")
        return value

    def clip(self, key: str) -> float | None:
        """A limit; None for none."""
        value = self.value(key, "a number", optional=True)
        if value is not None and (type(value) not in (int, float) or not abs(value) <= LARGEST):
            raise self.wrong(key, repr(value)[:80], "a number that float32 can hold, or null for none")
        return None if value is None else float(value)

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self.value(key, "true or false")
        if type(value) is not bool:
            raise self.wrong(key, repr(value), "true or false")
        return value

    def filters(self, key: str) -> tuple[tuple[int, int], ...]:
        """Pairs of a width and a number."""
        expected = "a list of pairs [width, number]"
        value = self.value(key, expected)
        if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
            raise self.wrong(key, repr(value)[:80], expected)
        if any(type(number) is not int for pair in value for number in pair):
            raise self.wrong(key, repr(value)[:80], expected)
        return tuple((width, n) for width, n in value)
