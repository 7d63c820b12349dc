"""Running text → sentences.

English and Chinese by the few rules below, other languages by sentencex, which knows their abbreviations. sentencex
keeps a quotation or a bracket in one piece; the rules split inside, where novels have most of their sentences. On the
gold sentences of UD EWT 2.15 (web text; many end without any mark), the boundaries inside paragraphs are found as
`benchmarks/sentence_splitting.py` prints:

    dev   rules      precision 0.979  recall 0.826  F1 0.896
    dev   sentencex  precision 0.977  recall 0.788  F1 0.873
    test  rules      precision 0.984  recall 0.790  F1 0.876
    test  sentencex  precision 0.971  recall 0.770  F1 0.859
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import regex
import sentencex

from elmokit.text.abbreviations import ABBREVIATIONS, BEFORE_NUMBERS, TITLES
from elmokit.text.tokenizers import Token

RULED_LANGUAGES: Final = ("en", "zh")
"""What our own rules split; any other code goes to sentencex."""


def split_sentences(text: str, language: str = "en") -> list[Token]:
    r"""Cut running text into sentences.

    A single `\n` is white space (text may be wrapped); an empty line ends a sentence. Sentences inside quotes or
    brackets are sentences too.

    Args:
        text: Any text.
        language: Its ISO 639 code.

    Returns:
        The sentences with their places in `text`, without the white space around them; none is empty.
    """
    return list(iterate_sentences(text, language))


def iterate_sentences(text: str, language: str = "en") -> Iterator[Token]:
    """Give the sentences of `split_sentences` one by one: a long text need not be there twice."""
    ruled = language.partition("-")[0] in RULED_LANGUAGES  # zh-Hant is zh
    ends = _rule_ends(text) if ruled else sentencex_ends(text, language)
    return _spans(text, ends)


def sentencex_ends(text: str, language: str) -> Iterator[int]:
    """Where sentencex ends sentences."""
    clean = _SURROGATES.sub("\ufffd", text)  # it takes none; a stand-in of the same length keeps the places
    return (int(boundary["end_index"]) for boundary in sentencex.get_sentence_boundaries(language, clean))


def _spans(text: str, ends: Iterable[int]) -> Iterator[Token]:
    """The stretches between ends, without white space around them."""
    start = 0
    for end in chain(ends, (len(text),)):
        piece = text[start:end].rstrip()
        sentence = piece.lstrip()
        if sentence:
            first = start + len(piece) - len(sentence)
            yield Token(sentence, first, first + len(sentence))
        start = end


_CLOSING = r"""["'”’»)\]」』》】）]"""
_MARK = r"[.!?…؟।॥۔]"
_CANDIDATE = regex.compile(
    rf"""
      (?P<sure> [。！？｡][。！？｡…]*+ {_CLOSING}*+ | \n[^\S\n]*+\n )         # Chinese marks, empty lines
    | (?<! {_MARK} ) (?P<marks> {_MARK}++ ) (?P<closing> {_CLOSING}*+ (?: [ ]?[:;=]-?[()DP] (?!\w) )? ) \s++ (?= (?P<next> \S ) )
    """,
    regex.VERBOSE | regex.VERSION1,
)
_SURROGATES = regex.compile(r"\p{Cs}")
_LETTERS = regex.compile(r"\p{L}(?:\.\p{L})*")
_OPENING = "\"'“‘«(["
_LONGEST = 24  # how far to look back for the word before a period


def _rule_ends(text: str) -> Iterator[int]:
    """Where the rules end sentences: after marks and what closes with them."""
    start = 0
    for match in _CANDIDATE.finditer(text):
        if match["sure"]:
            end = match.end()
        elif _ends_sentence(text, start, match):
            end = match.end("closing")
        else:
            continue
        yield end
        start = end


def _ends_sentence(text: str, start: int, match: "regex.Match[str]") -> bool:
    """Judge marks that are followed by white space; `start` is where the sentence begins."""
    marks, closing, following = match["marks"], match["closing"], match["next"]
    if following in ".!?…,;:-)":
        return False
    if following.islower() and (closing or (len(marks) > 1 and marks[-1] in ".…")):
        return False  # "Why?" he said … and so on
    if marks != "." or closing:
        return True
    before = text[max(start, match.start() - _LONGEST) : match.start()].split()
    word = before[-1].lstrip(_OPENING) if before else ""
    if word in TITLES or (word in BEFORE_NUMBERS and following.isdigit()):
        return False
    if _LETTERS.fullmatch(word) and word != "I":
        return False  # J. Smith, U.S., p.m., Roe v. Wade
    if word.isdigit() and len(before) == 1:
        return False  # the number of a list's item
    return not (following.islower() and (not word or "." in word or word in ABBREVIATIONS | BEFORE_NUMBERS))
