"""What a model is: frozen dataclasses, read from and written to `config.json`.

The defaults are those of the published models (Peters et al. 2018, "Deep contextualized word representations"). What
came later than the first version of the format is written only where it differs from its default: so models of the
usual kind stay readable for older versions of this library, and keep their fingerprints.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from elmokit.errors import FormatError

Activation = Literal["relu", "tanh"]
Normalization = Literal["none", "NFC", "NFKC"]

FORMAT_VERSION = 1
MODEL_TYPE = "elmo"
BYTE_CHARACTERS, BYTE_PADDING = 261, 260
"""Characters of a model that reads UTF-8: 256 bytes and five marks, padding the last (see `elmokit.text.bytes`)."""
PUBLISHED_FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))
_MOST = 2**24
"""What no size of a model reaches; a file may say anything, and what it says must not take memory."""
_MOST_CHARACTERS = 10_000
"""No tensor of the model tells how many places a word has, though they take memory for each word."""
LARGEST = 3.4e38
"""What float32 can hold."""


def _positive(config: object, *names: str, most: float = _MOST) -> None:
    """Raise ValueError unless each field named is above zero, and at most `most`."""
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value}")
        if value > most:
            raise ValueError(f"{name} must be at most {most:,}, not {str(value)[:80]}")


def _whole(config: object, *names: str) -> None:
    """Raise ValueError unless each field named is a whole number."""
    for name in names:
        if type(getattr(config, name)) is not int:
            raise ValueError(f"{name} must be a whole number, not {getattr(config, name)!r}")


def _strings(value: object, name: str) -> tuple[str, ...]:
    """Read a JSON list of strings; raise ValueError for anything else, a single string among it."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} must be a list of strings, not {value!r}")
    return tuple(value)


def _known(config: object, name: str, values: tuple[str, ...]) -> None:
    """Raise ValueError unless the field is one of `values`."""
    if getattr(config, name) not in values:
        raise ValueError(f"{name} must be one of {', '.join(values)}, not {getattr(config, name)!r}")


@dataclass(frozen=True, kw_only=True)
class CodePointsConfig:
    """Characters that are code points, with ids of the model's own table (ELMoForManyLangs)."""

    characters: int
    """How many rows the table of character vectors has, the marks included."""
    padding: int
    """The id that fills the places behind a word."""

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises:
            ValueError: Names the field and what it may be.
        """
        _whole(self, "characters", "padding")
        _positive(self, "characters")
        if not 0 <= self.padding < self.characters:
            raise ValueError(f"padding must be 0 or more and below characters ({self.characters}), not {self.padding}")


@dataclass(frozen=True, kw_only=True)
class WordTableConfig:
    """A vector for each word of a table, instead of the character network or beside it."""

    words: int
    """V: rows of the table."""
    dim: int
    """Numbers for each word."""
    projection: bool = False
    """Whether a linear layer → P follows, one for both where characters are read too; without it `dim` must be P."""

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises:
            ValueError: Names the field and what it may be.
        """
        _whole(self, "words", "dim")
        _positive(self, "words", "dim")


@dataclass(frozen=True, kw_only=True)
class CharCnnConfig:
    """The network that reads a word's characters (section 3.2 of the paper; Kim et al. 2016)."""

    embedding_dim: int = 16
    """E: numbers for each character."""
    filters: tuple[tuple[int, int], ...] = PUBLISHED_FILTERS
    """(width in characters, number of filters) of each convolution; their sum is F."""
    activation: Activation = "relu"
    """What follows the maximum over positions."""
    highways: int = 2
    """Highway layers over the F features, 0 or more."""
    projection: bool = True
    """Whether a linear layer F → P follows; without it F must equal the width of the LSTM's input."""
    max_characters: int = 50
    """W: places for a word, its two marks included; longer words are cut."""
    code_points: CodePointsConfig | None = None
    """What is known of its characters if they are code points; None: they are the bytes of UTF-8."""

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises:
            ValueError: Names the field and what it may be.
        """
        object.__setattr__(self, "filters", tuple((int(w), int(n)) for w, n in self.filters))
        _positive(self, "embedding_dim")
        _known(self, "activation", get_args(Activation))
        if not 0 <= self.highways <= _MOST:
            raise ValueError(f"highways must be 0 or more, and at most {_MOST:,}, not {str(self.highways)[:80]}")
        if not self.filters or any(not 1 <= size <= _MOST for pair in self.filters for size in pair):
            raise ValueError(f"filters must be pairs (width ≥ 1, number ≥ 1, {_MOST:,} at most), not {str(self.filters)[:200]}")
        widest = max(w for w, _ in self.filters)
        if self.max_characters < max(widest, 3):
            raise ValueError(f"max_characters must be at least 3 and the widest filter ({widest}), not {self.max_characters}")
        _positive(self, "max_characters", most=_MOST_CHARACTERS)

    @property
    def features(self) -> int:
        """F: all filters together."""
        return sum(n for _, n in self.filters)

    @property
    def characters(self) -> int:
        """How many characters it knows, its marks included."""
        return self.code_points.characters if self.code_points else BYTE_CHARACTERS

    @property
    def padding(self) -> int:
        """The id that fills the places behind a word."""
        return self.code_points.padding if self.code_points else BYTE_PADDING


@dataclass(frozen=True, kw_only=True)
class BiLMConfig:
    """The bidirectional language model without its softmax."""

    char_cnn: CharCnnConfig | None = CharCnnConfig()
    """The network that turns characters into word vectors; None for a model that only looks words up."""
    word_table: WordTableConfig | None = None
    """The table in which words are looked up; None for a model that reads characters alone, as most do."""
    cell_dim: int = 4096
    """H: width of an LSTM cell."""
    projection_dim: int | None = 512
    """P: width of an LSTM's output after its projection; None for an LSTM without one (then P = H)."""
    layers: int = 2
    """L: LSTM layers in each direction, 1 or more."""
    cell_clip: float | None = 3.0
    """Cells are kept within ± this; None for no limit. Part of the model: published weights rely on it."""
    projection_clip: float | None = 3.0
    """Outputs are kept within ± this; None for no limit."""
    skip_connections: bool = True
    """Whether the output of layer 2 and above is added to its input."""
    forget_bias: float = 1.0
    """What is added to the forget gate before σ: 1 in bilm-tf and AllenNLP, 0 in ELMoForManyLangs."""
    bidirectional: bool = True
    """Whether sentences are read from their end too; False: a language model that reads forward alone."""

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises:
            ValueError: Names the field and what it may be.
        """
        _positive(self, "cell_dim", "layers")
        for name, most in (("projection_dim", _MOST), ("cell_clip", LARGEST), ("projection_clip", LARGEST)):
            if getattr(self, name) is not None:
                _positive(self, name, most=most)
        if not abs(self.forget_bias) <= LARGEST:
            raise ValueError(f"forget_bias must be a finite number, not {str(self.forget_bias)[:80]}")
        self._check_words()

    def _check_words(self) -> None:
        """Refuse parts that give no word vector of the LSTM's width."""
        cnn, table = self.char_cnn, self.word_table
        if cnn is None and table is None:
            raise ValueError("a model needs char_cnn, word_table or both: something that makes a vector of a word")
        if cnn is not None and table is not None and not (cnn.projection and table.projection):
            raise ValueError("a word table and a character CNN go through one projection: it must be true for both")
        if cnn is not None and not cnn.projection and cnn.features != self.output_dim:
            raise ValueError(
                f"a character CNN without projection needs filters that add up to the LSTM's width {self.output_dim}, "
                f"not {cnn.features}"
            )
        if table is not None and not table.projection and table.dim != self.output_dim:
            raise ValueError(f"a word table without projection needs dim {self.output_dim}, the LSTM's width, not {table.dim}")

    @property
    def output_dim(self) -> int:
        """P: width of one direction's vectors, and of a word's vector below them."""
        return self.projection_dim or self.cell_dim

    @property
    def directions(self) -> int:
        """In how many directions sentences are read: 2, or 1 for forward alone."""
        return 2 if self.bidirectional else 1

    @property
    def dim(self) -> int:
        """2P: width of a token's vector in each layer, both directions joined; P if sentences are read forward alone."""
        return self.directions * self.output_dim

    @property
    def byte_cnn(self) -> CharCnnConfig:
        """The network that reads words as bytes and nothing else, for what knows no other models.

        Raises:
            ValueError: The model reads something else.
        """
        if self.char_cnn is None or self.char_cnn.code_points is not None or self.word_table is not None:
            raise ValueError(f"this is for models that read the bytes of words; this one reads {self.reads}")
        return self.char_cnn

    @property
    def reads(self) -> str:
        """What a word is to the model, in words for users."""
        characters = [] if self.char_cnn is None else ["code points" if self.char_cnn.code_points else "bytes"]
        return " and ".join([*(["whole words"] if self.word_table else []), *characters])

    def to_dict(self) -> dict[str, Any]:
        """Give the plain dictionary that `config.json` holds; see the head of this file for what is left out."""
        data = dataclasses.asdict(self)
        later = [(data, "word_table", None), (data, "forget_bias", 1.0), (data, "bidirectional", True)]
        later += [(data["char_cnn"] or {}, "code_points", None)]
        for place, name, default in later:
            if place.get(name) == default:
                place.pop(name, None)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "BiLMConfig":
        """Read what `to_dict` wrote.

        Raises:
            KeyError: `char_cnn` is missing.
            TypeError: A key is unknown.
            ValueError: A field has a value that it may not have.
        """
        char_cnn, word_table = data["char_cnn"], data.get("word_table")
        if char_cnn is not None:
            code_points = char_cnn.get("code_points")
            char_cnn = CharCnnConfig(**{**char_cnn, "code_points": code_points and CodePointsConfig(**code_points)})
        return cls(**{**data, "char_cnn": char_cnn, "word_table": word_table and WordTableConfig(**word_table)})


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How strings become the words that the model was trained on."""

    tokenizer: str = "words"
    """A name of `elmokit.text.tokenizers.TOKENIZERS`."""
    normalization: Normalization = "none"
    """Unicode normalization of each token."""
    lowercase: bool = False
    """Whether tokens are lowercased."""

    def __post_init__(self) -> None:
        """Refuse an unknown normalization.

        Raises:
            ValueError: Names the field and what it may be.
        """
        _known(self, "normalization", get_args(Normalization))


@dataclass(frozen=True, kw_only=True)
class ElmoConfig:
    """All of `config.json` that is not about the files beside it."""

    bilm: BiLMConfig = BiLMConfig()
    """The network."""
    text: TextConfig = TextConfig()
    """The way from strings to words."""
    languages: tuple[str, ...] = ()
    """ISO 639 codes of the languages trained on, if known."""
    license: str | None = None
    """The weights' licence, if known."""

    def to_dict(self) -> dict[str, Any]:
        """Give the plain dictionary that `config.json` holds."""
        rest = dataclasses.asdict(self) | {"bilm": self.bilm.to_dict()}
        return {"model_type": MODEL_TYPE, "format_version": FORMAT_VERSION, **rest}

    @classmethod
    def from_dict(cls, data: dict[str, Any], origin: str = "config.json") -> "ElmoConfig":
        """Read what `to_dict` wrote; keys of other parts of the file are left alone.

        Raises:
            FormatError: `origin` and the key that is missing, unknown or wrong.
        """
        if data.get("model_type") != MODEL_TYPE:
            raise FormatError(f"{origin}: model_type is {data.get('model_type')!r}, expected {MODEL_TYPE!r}")
        if data.get("format_version") != FORMAT_VERSION:
            raise FormatError(
                f"{origin}: format_version is {data.get('format_version')!r}, this elmokit reads {FORMAT_VERSION}; "
                "a newer elmokit may have written it: pip install --upgrade elmokit"
            )
        try:
            return cls(
                bilm=BiLMConfig.from_dict(data["bilm"]),
                text=TextConfig(**data["text"]),
                languages=_strings(data.get("languages", []), "languages"),
                license=data.get("license"),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise FormatError(f"{origin}: {error}") from error
