"""Words of a text replaced by others, every other character kept."""

from collections.abc import Mapping, Sequence

import regex

from elmokit.text.tokenizers import Token

_JOINED = regex.compile(r"[@#]\S|[\p{Latin}\p{M}\p{N}_]{2}")


def stands_alone(text: str, token: Token) -> bool:
    """Whether a word is more than a piece of one, so that another may stand there: neither *ca* of *can't* nor *elmo* of *@elmo*.

    Chinese words touch each other and stand alone all the same; so does *dog* in *dog's*.
    """
    begin, end = text[max(token.start - 1, 0) : token.start + 1], text[token.end - 1 : token.end + 1]
    return not _JOINED.fullmatch(begin) and not _JOINED.fullmatch(end)


def replace_tokens(text: str, tokens: Sequence[Token], replaced: Mapping[int, str]) -> str:
    """Put other words at the places of some tokens.

    Args:
        text: What the tokens were found in.
        tokens: In order, without overlap.
        replaced: By the token's number, the characters that stand there now.
    """
    pieces, end = [], 0
    for number in sorted(replaced):
        pieces += [text[end : tokens[number].start], replaced[number]]
        end = tokens[number].end
    return "".join([*pieces, text[end:]])
