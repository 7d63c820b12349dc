import time
from pathlib import Path

import pytest
from benchmarks.sentence_splitting import by_sentencex, join, read_paragraphs, report, rules, score
from hypothesis import example, given
from hypothesis import strategies as st

from elmokit.text import sentences
from elmokit.text.sentences import split_sentences

WILD = st.text(st.one_of(st.characters(), st.sampled_from(" .!?…。！\n\r\t\"'”)aBé中1\ud83d\ude00\x00\u2028")))


def texts(text: str, language: str = "en") -> list[str]:
    return [sentence.text for sentence in split_sentences(text, language)]


@given(WILD, st.sampled_from(["en", "zh", "de", "th", "no such language"]))
@example("\ud83d\ude00. A \ud83d b.", "de")
def test_sentences_are_the_text_but_for_white_space(text: str, language: str) -> None:
    place = 0
    for sentence, start, end in split_sentences(text, language):
        assert sentence == text[start:end]
        assert sentence == sentence.strip() != ""
        assert text[place:start].strip() == ""
        assert place <= start
        place = end
    assert text[place:].strip() == ""


@pytest.mark.parametrize(
    "expected",
    [
        ["It rained.", "We left!", "Why?", "Nobody knows…", "So what"],
        ["Dr. Smith met J. K. Rowling in the U.S. Army.", "They spoke."],
        ["He was born Jan. 3 in No. 5 and lived, e.g. in Roe v. Wade.", "He left."],
        ['"Why?" he said.', '"I go.', 'Now."', "(She stayed.)", "Good."],
        ["Wait... no, i mean it.", "i do!", "ok."],
        ["It cost 3.50 at Apple Inc. in May.", "It was cheap."],
        ["1. First take it.", "2. Then leave it."],
        ["Great! :)", "Thanks."],
        ["She and I.", "Then we left at 5 p.m. sharp."],
    ],
)
def test_english(expected: list[str]) -> None:
    assert texts(" ".join(expected)) == expected


def test_chinese() -> None:
    text = "他说：“我走了。”然后他走了！你呢？！ABC公司。好……是（对。）完"
    expected = ["他说：“我走了。”", "然后他走了！", "你呢？！", "ABC公司。", "好……是（对。）", "完"]
    assert texts(text, "zh") == texts(text, "zh-Hant") == expected
    assert texts(text) == expected


def test_wrapped_lines_belong_together_and_empty_lines_part() -> None:
    assert texts("A title\n\nA line that\ngoes on. And\r\n \r\nends ") == ["A title", "A line that\ngoes on.", "And", "ends"]


def test_other_languages_are_sentencex_s() -> None:
    assert texts("Das ist z.B. gut. Ja, am 3. Mai.", "de") == ["Das ist z.B. gut.", "Ja, am 3. Mai."]
    assert texts("यह एक है। वह दो है।", "hi") == ["यह एक है।", "वह दो है।"]


@pytest.mark.parametrize("piece", ["A b. ", "a! ", "!", " ", "\n", " \n", "\t", "。", ". ", "1. ", "a) ", '"', "A.b"])
def test_time_grows_with_length_not_with_its_square(piece: str) -> None:
    def seconds(repeats: int) -> float:
        text = piece * repeats
        began = time.process_time()
        split_sentences(text)
        return time.process_time() - began

    # Sixteen times the text: the square would take 256 times as long.
    assert seconds(80_000) < 60 * max(min(seconds(5_000) for _ in range(3)), 0.005)


def test_the_score_counts_boundaries_inside_paragraphs() -> None:
    paragraph = join(["One here.", "two", "Three."])
    assert paragraph == ("One here. two Three.", {9, 13})
    assert score(lambda text: [9, 3, len(text)], [paragraph]) == (0.5, 0.5, 0.5)


def test_the_docstring_tells_what_the_benchmark_prints(shared: Path) -> None:
    lines = list(report(shared / "data" / "ud-ewt"))
    assert len(lines) == 4
    for line in lines:
        assert line in (sentences.__doc__ or "")


def test_rules_find_more_boundaries_than_sentencex(shared: Path) -> None:
    paragraphs = list(read_paragraphs(shared / "data" / "ud-ewt" / "en_ewt-ud-dev.conllu.xz"))
    ours, theirs = score(rules, paragraphs), score(by_sentencex, paragraphs)
    assert ours.f1 > theirs.f1 + 0.01
    assert ours.precision > 0.97
