"""Kinds of parameters that several commands share."""

from typing import Annotated

from cyclopts import Parameter


def _no_option(kind: object, value: str) -> None:
    """Refuse what looks like an option, but let `-`, the standard input, pass.

    Raises:
        ValueError: It begins with a dash; cyclopts adds the name of the parameter.
    """
    if value.startswith("-") and value != "-":
        raise ValueError("There is no such option.")


FileOrStdin = Annotated[str, Parameter(allow_leading_hyphen=True, validator=_no_option)]
"""A path, or `-` for the standard input."""

FilePatterns = Annotated[list[str], Parameter(consume_multiple=True)]
"""Files, folders and patterns: one option takes all that follow it, so that a pattern may be expanded by the shell."""
