"""The one place that changes what a token's characters are, as the model's configuration says."""

import unicodedata

from elmokit.config import TextConfig


def normalize(text: str, config: TextConfig) -> str:
    """Give the form of a token that the model reads: Unicode normalization first, then lower case.

    It is applied to tokens after a text is cut into them, so that offsets stay those of the user's own string.

    Args:
        text: One token (or any text).
        config: Its `normalization` and `lowercase` are used.
    """
    if config.normalization != "none" and not text.isascii():
        text = unicodedata.normalize(config.normalization, text)
    return text.lower() if config.lowercase else text
