"""ELMo for today's Python: words in context as vectors.

The public names are loaded when they are first asked for, so that `import elmokit` and `elmo --help` need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elmokit.config import ElmoConfig
    from elmokit.embedding.elmo import Elmo
    from elmokit.embedding.module import ElmoEmbedding, ElmoOutput
    from elmokit.errors import FormatError
    from elmokit.lm.fill import Fill
    from elmokit.lm.score import Score
    from elmokit.model.scalar_mix import ScalarMix
    from elmokit.text.batch import WordBatch
    from elmokit.text.tokenizers import Token

__version__ = "0.1.0"

__all__ = [
    "Elmo",
    "ElmoConfig",
    "ElmoEmbedding",
    "ElmoOutput",
    "Fill",
    "FormatError",
    "ScalarMix",
    "Score",
    "Token",
    "WordBatch",
    "__version__",
]

_HOMES = {
    "Elmo": "embedding.elmo",
    "ElmoConfig": "config",
    "ElmoEmbedding": "embedding.module",
    "ElmoOutput": "embedding.module",
    "Fill": "lm.fill",
    "FormatError": "errors",
    "ScalarMix": "model.scalar_mix",
    "Score": "lm.score",
    "Token": "text.tokenizers",
    "WordBatch": "text.batch",
}


if not TYPE_CHECKING:  # type checkers would take any name for a public one

    def __getattr__(name: str) -> object:
        """Import a public name from the module that defines it (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
