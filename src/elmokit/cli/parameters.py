"""Kinds of parameters that several commands share."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def _no_option(kind: object, value: object) -> None:
    """Refuse what looks like an option, but let `-`, the standard input, pass.

    Raises:
        ValueError: It begins with a dash; cyclopts adds the name of the parameter.
    """
    if isinstance(value, str) and value.startswith("-") and value != "-":
        raise ValueError("There is no such option.")


LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
"""An ISO 639 code, with a script or a region behind it: en, zh-Hant, pt-BR."""

PathOrName = str | Path
"""A path or a name. Commands are functions too, so each makes a `Path` of it, or a `str` where a name or pattern may stand.
On the command line it stays a string: a `Path` would take a slash out of an address."""

FileOrStdin = Annotated[str | Path, Parameter(allow_leading_hyphen=True, validator=_no_option)]
"""A path, or `-` for the standard input."""

FilePatterns = Annotated[Sequence[str | Path], Parameter(consume_multiple=True)]
"""Files, folders and patterns: one option takes all that follow it, so that a pattern may be expanded by the shell."""
FILE_OPTIONS = ("--corpus", "--heldout", "--old")
"""The options of this kind, which take `-` for the standard input too."""


def check_language(option: str, code: str) -> None:
    """Refuse what is no code of a language.

    Raises:
        ValueError: Names the option.
    """
    if not LANGUAGE.fullmatch(code):
        raise ValueError(f"{option} takes ISO 639 codes, such as en, zh or zh-Hant, not {code!r}")


def patterns(given: FilePatterns | Path) -> list[str]:
    """Give files, folders and patterns as a list, be it a single one."""
    return [str(given)] if isinstance(given, str | Path) else [str(pattern) for pattern in given]
