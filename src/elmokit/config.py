"""What a model is: frozen dataclasses, read from and written to `config.json`.

The defaults are those of the published models (Peters et al. 2018, "Deep contextualized word representations").
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from elmokit.errors import FormatError

Activation = Literal["relu", "tanh"]
Normalization = Literal["none", "NFC", "NFKC"]

FORMAT_VERSION = 1
MODEL_TYPE = "elmo"
PUBLISHED_FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))


def _positive(config: object, *names: str) -> None:
    """Raise ValueError unless each field named is above zero."""
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value}")


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

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises:
            ValueError: Names the field and what it may be.
        """
        object.__setattr__(self, "filters", tuple((int(w), int(n)) for w, n in self.filters))
        _positive(self, "embedding_dim")
        _known(self, "activation", get_args(Activation))
        if self.highways < 0:
            raise ValueError(f"highways must be 0 or more, not {self.highways}")
        if not self.filters or any(w < 1 or n < 1 for w, n in self.filters):
            raise ValueError(f"filters must be pairs (width ≥ 1, number ≥ 1), not {self.filters}")
        widest = max(w for w, _ in self.filters)
        if self.max_characters < max(widest, 3):
            raise ValueError(f"max_characters must be at least 3 and the widest filter ({widest}), not {self.max_characters}")

    @property
    def features(self) -> int:
        """F: all filters together."""
        return sum(n for _, n in self.filters)


@dataclass(frozen=True, kw_only=True)
class BiLMConfig:
    """The bidirectional language model without its softmax."""

    char_cnn: CharCnnConfig = CharCnnConfig()
    """The network that turns characters into word vectors."""
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

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises:
            ValueError: Names the field and what it may be.
        """
        _positive(self, "cell_dim", "layers")
        for name in ("projection_dim", "cell_clip", "projection_clip"):
            if getattr(self, name) is not None:
                _positive(self, name)
        if not self.char_cnn.projection and self.char_cnn.features != self.output_dim:
            raise ValueError(
                f"a character CNN without projection needs filters that add up to the LSTM's width {self.output_dim}, "
                f"not {self.char_cnn.features}"
            )

    @property
    def output_dim(self) -> int:
        """P: width of one direction's vectors, and of a word's vector below them."""
        return self.projection_dim or self.cell_dim

    @property
    def dim(self) -> int:
        """2P: width of a token's vector in each layer, both directions joined."""
        return 2 * self.output_dim


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
        return {"model_type": MODEL_TYPE, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}

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
            bilm = dict(data["bilm"])
            char_cnn = CharCnnConfig(**bilm.pop("char_cnn"))
            return cls(
                bilm=BiLMConfig(char_cnn=char_cnn, **bilm),
                text=TextConfig(**data["text"]),
                languages=_strings(data.get("languages", []), "languages"),
                license=data.get("license"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{origin}: {error}") from error
