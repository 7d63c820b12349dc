"""Strings → tokens that remember where they stood.

Whatever the tokenizer, `token.text == string[token.start : token.end]`, tokens come in order without overlap, and every
character but white space is in one. Nothing is rewritten: quotes stay as they are.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import regex

from elmokit.text.abbreviations import ABBREVIATIONS, BEFORE_NUMBERS, TITLES


class Token(NamedTuple):
    """A piece of a string."""

    text: str
    """The characters as they stand in the string."""
    start: int
    """Where it begins, in code points."""
    end: int
    """Where it ends: the place after its last character."""


Tokenizer = Callable[[str], list[Token]]


def get_tokenizer(name: str) -> Tokenizer:
    """Give the tokenizer of that name.

    * `whitespace`: cut at white space as `str.split` does, for text that is tokenized already.
    * `words`: English (and whatever else is in Latin letters) as the Penn Treebank splits it, contractions included;
      Chinese words by jieba; any other script by Unicode word boundaries (UAX #29). Hyphenated words, numbers, dates,
      links and addresses stay whole; runs of one mark ("...", "--", "!!") are one token.
    * `characters`: the same, but each Han character is a token.

    Raises:
        ValueError: The name is unknown; the message lists the known ones.
    """
    if name not in TOKENIZERS:
        raise ValueError(f"tokenizer must be one of {', '.join(TOKENIZERS)}, not {name!r}")
    return TOKENIZERS[name]


def _whitespace(text: str) -> list[Token]:
    return [Token(match[0], *match.span()) for match in re.finditer(r"\S+", text)]


def _words(text: str) -> list[Token]:
    return _cut(text, _chinese_words)


def _characters(text: str) -> list[Token]:
    return _cut(text, list)


TOKENIZERS: Final[dict[str, Tokenizer]] = {"whitespace": _whitespace, "words": _words, "characters": _characters}
"""The known tokenizers by name."""


def _cut(text: str, cut_han: Callable[[str], Iterable[str]]) -> list[Token]:
    """Find tokens from left to right; cut further those that hold several."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        piece, (start, end), kind = match[0], match.span(), match.lastgroup
        if kind == "han" and end - start > 1:
            tokens += _placed(cut_han(piece), start)
        elif kind == "apostrophe":
            tokens += _placed(_contracted(piece), start)
        elif piece in _JOINED:
            cut = _JOINED[piece]
            tokens += _placed((piece[:cut], piece[cut:]), start)
        else:
            tokens.append(Token(piece, start, end))
    return tokens


def _placed(pieces: Iterable[str], start: int) -> list[Token]:
    """Tokens for pieces that follow each other without a gap."""
    tokens = []
    for piece in pieces:
        tokens.append(Token(piece, start, start + len(piece)))
        start += len(piece)
    return tokens


def _chinese_words(run: str) -> list[str]:
    """Cut a run of Han characters; they are all that jieba ever sees."""
    import rjieba  # here, because it reads a dictionary of 350,000 words, which takes 0.1 s

    words: list[str] = rjieba.cut(run)
    return words


def _contracted(word: str) -> list[str]:
    """Cut "don't" into do, n't and "he'd've" into he, 'd, 've."""
    endings: list[str] = []
    # Nobody writes three; without a limit "n'tn'tn't…" would take time that grows with the square of its length.
    while len(endings) < 3 and (match := _ENDING.search(word)):
        endings.append(match[0])
        word = word[: match.start()]
    return [word, *reversed(endings)]


_ENDING = re.compile(
    r"(?<=.)(?:n['’]t|['’](?:s|m|d|ll|re|ve))\Z|(?<=^d)['’]ye\Z|(?<=^more)['’]n\Z|(?<=^['’]t)(?:is|was)\Z",
    re.IGNORECASE,
)

# Two words written as one, with where the second begins.
_JOINED: Final = {
    form: cut
    for word, cut in {"cannot": 3, "gonna": 3, "gotta": 3, "wanna": 3, "gimme": 3, "lemme": 3}.items()
    for form in (word, word.capitalize(), word.upper())
}

_TITLES, _ABBREVIATIONS, _BEFORE_NUMBERS = ("|".join(sorted(words)) for words in (TITLES, ABBREVIATIONS, BEFORE_NUMBERS))
_LETTER = r"[\p{Latin}0-9][\p{Latin}\p{M}0-9\xAD\u200C\u200D]*+"
_NUMBER = r"[0-9]++(?:[.:/][0-9]++|,[0-9]{3}(?![0-9]))*+"
_PART = rf"(?:{_NUMBER}(?:{_LETTER})?|{_LETTER})"
_LINK = r"[!-~\p{Latin}]"

# At every place but white space the first alternative that fits wins. Flag w makes \b the word boundary of UAX #29.
_TOKEN = regex.compile(
    rf"""
    (?= [^\s\x1C-\x1F] ) (?:                              # what str.isspace calls white space
      [A-Za-z]++ (?= [\s,;!?)\]"] | \Z )                  # most of English
    | [,()"\[\]]
    | (?P<han> \p{{Han}}++ )
    | (?: https?:// | ftp:// | www\. ) {_LINK}* (?<! [.,;:!?'"()\[\]<>…] )      # not the punctuation after a link
    | [\p{{Latin}}0-9][\p{{Latin}}0-9._%+-]{{0,63}}+ @ {_PART} (?: [.-] {_PART} )*+
    | (?: \p{{Latin}}\. ){{2,}}+ (?: - {_PART} )*+          # U.S.  e.g.  U.S.-led
    | (?: \p{{Lu}}\p{{Ll}}?\. ){{2,}}+                      # Ph.D.
    | (?! I\. ) \p{{Lu}}\. (?= \s?\p{{Lu}} )              # J. Smith
    | (?: {_TITLES} ) \. (?= \s*+[^\s.] )
    | (?: {_ABBREVIATIONS} ) \. (?= \s*+[^\s\p{{Lu}}.'"”’)\]] )
    | (?: {_BEFORE_NUMBERS} ) \. (?= \s?[0-9] )
    | (?: US | CA? | AU? | NZ | HK | S | R ) \$
    | (?P<apostrophe> {_PART} (?: [-‐‑_&] {_PART} )*+ ['’] {_PART} (?: [-‐‑_&'’] {_PART} )*+ | ['’] (?i: tis | twas ) \b )
    | {_PART} (?: (?: [-‐‑_&] | \. (?= [\p{{Ll}}0-9] ) ) {_PART} )*+
    | ['’] (?i: s | m | d | ll | re | ve | em | til | cause | n['’]? | [0-9]{{2}}s? ) \b
    | (?<! [^\s(\[] ) [-+−]? \.? {_PART}                  # -5  .22
    | (?P<mark> [-.…—―*=_~\#+<>`'’] ) (?P=mark)++         # ...  --
    | [!?！？]{{2,}}+
    | [:;=]-?[()DP] (?! \w )                              # :-)
    | [\U0001F1E6-\U0001F1FF]{{2}}                        # a flag; \b would count all flags before it, each time
    | (?= [^\x00-\x7F] ) [^\s\x1C-\x1F\p{{Han}}]+? \b     # other scripts and their punctuation
    | .
    )
    """,
    regex.VERBOSE | regex.VERSION1 | regex.WORD | regex.DOTALL,
)
