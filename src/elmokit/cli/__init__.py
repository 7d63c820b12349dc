"""The program `elmo`, one function per command; each is loaded when it is first asked for (`from elmokit.cli import info`).

A command stands in `commands/` beside this file, in a module of its own name, and only this list knows of it. A folder lower
than this one, because Python would put a module `elmokit.cli.info` over the function of that name.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elmokit.cli.commands.augment import augment
    from elmokit.cli.commands.bench import bench
    from elmokit.cli.commands.convert import convert
    from elmokit.cli.commands.demo import demo
    from elmokit.cli.commands.download import download
    from elmokit.cli.commands.embed import embed
    from elmokit.cli.commands.fill import fill
    from elmokit.cli.commands.generate import generate
    from elmokit.cli.commands.info import info
    from elmokit.cli.commands.models import models
    from elmokit.cli.commands.perplexity import perplexity
    from elmokit.cli.commands.pretrain import pretrain
    from elmokit.cli.commands.score import score
    from elmokit.cli.commands.static import static
    from elmokit.cli.commands.tune import tune

__all__ = [
    "augment",
    "bench",
    "convert",
    "demo",
    "download",
    "embed",
    "fill",
    "generate",
    "info",
    "models",
    "perplexity",
    "pretrain",
    "score",
    "static",
    "tune",
]


if not TYPE_CHECKING:  # type checkers would take any name for a command

    def __getattr__(name: str) -> object:
        """Import a command from its module (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.commands.{name}"), name)
