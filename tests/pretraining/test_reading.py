"""Text files → documents of tokenized sentences."""

import lzma
from pathlib import Path

import pytest

from elmokit.config import TextConfig
from elmokit.errors import FormatError
from elmokit.pretraining.reading import DOCUMENT_LINES, TextSource, read_documents, read_sentences

PLAIN = TextConfig(tokenizer="whitespace")


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_an_empty_line_or_a_files_end_ends_a_document(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a b\nc\n\n \nd\n")
    write(tmp_path / "b.txt", "")
    write(tmp_path / "c.txt", "e f\r\n")
    source = TextSource([str(tmp_path / "*.txt")])
    assert list(read_documents(source, PLAIN)) == [[["a", "b"], ["c"]], [["d"]], [["e", "f"]]]
    assert (source.counts.lines, source.counts.empty, source.counts.undecodable) == (6, 2, 0)


def test_long_documents_are_cut(tmp_path: Path) -> None:
    source = TextSource([write(tmp_path / "a.txt", "a\n" * (2 * DOCUMENT_LINES + 3))])
    assert [len(document) for document in read_documents(source, PLAIN)] == [DOCUMENT_LINES, DOCUMENT_LINES, 3]


def test_undecodable_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    source = TextSource([write(tmp_path / "a.txt", b"a\n\xff\xfe b\nc\n")])
    assert list(read_documents(source, PLAIN)) == [[["a"], ["c"]]]
    assert (source.counts.lines, source.counts.undecodable) == (3, 1)


def test_running_text_is_split_into_sentences(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Dr. Smith went home. It rained!\nA new paragraph. The end.\n")
    (document,) = read_documents(TextSource([path], "running"), PLAIN)
    assert document == [["Dr.", "Smith", "went", "home."], ["It", "rained!"], ["A", "new", "paragraph."], ["The", "end."]]
    (lines,) = read_documents(TextSource([path], "lines"), PLAIN)
    assert [len(sentence) for sentence in lines] == [6, 5]


def test_words_are_normalized_after_tokenizing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Café ﬁne\n")
    text = TextConfig(tokenizer="whitespace", normalization="NFKC", lowercase=True)
    assert list(read_sentences(TextSource([path]), text)) == [["café", "fine"]]
    assert list(read_sentences(TextSource([path]), PLAIN)) == [["Café", "ﬁne"]]


def test_another_tokenizer_than_the_models_may_be_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "don't stop\n")
    assert list(read_sentences(TextSource([path]), TextConfig())) == [["do", "n't", "stop"]]
    assert list(read_sentences(TextSource([path]), TextConfig(), "whitespace")) == [["don't", "stop"]]


def test_what_is_measured_is_all_of_the_text(tmp_path: Path) -> None:
    """A perplexity of some of the lines would be another text's."""
    source = TextSource([write(tmp_path / "a.txt", b"a\n\xff b\n")])
    with pytest.raises(FormatError, match="a.txt, line 2"):
        list(read_sentences(source, PLAIN))


def test_folders_and_packed_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "a.txt", "a\n")
    write(tmp_path / "deep" / "b.txt.xz", lzma.compress(b"b\n"))
    assert list(read_sentences(TextSource([str(tmp_path)]), PLAIN)) == [["a"], ["b"]]


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing-here"):
        TextSource([str(tmp_path / "nothing-here*")]).files()


def test_the_fingerprint_tells_of_every_change(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "a\n")
    before = TextSource([path]).fingerprint()
    assert TextSource([path]).fingerprint() == before
    assert TextSource([path], "running").fingerprint() != before
    write(tmp_path / "a.txt", "a b\n")
    assert TextSource([path]).fingerprint() != before


def test_empty_and_damaged_files_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    text = "".join(f"word{n} another{n * n}\n" for n in range(20_000))
    whole = lzma.compress(text.encode())
    write(tmp_path / "a.txt", "")
    write(tmp_path / "b.txt.xz", whole[: len(whole) // 2])
    write(tmp_path / "c.txt", "last one\n")
    source = TextSource([str(tmp_path)])
    documents = list(read_documents(source, PLAIN))
    assert (source.counts.empty_files, source.counts.damaged_files) == (1, 1)
    assert documents[0][0] == ["word0", "another0"]
    assert documents[-1] == [["last", "one"]]
    with pytest.raises(FormatError, match=r"b\.txt\.xz"):
        list(read_documents(source, PLAIN, "strict"))


def test_running_text_is_split_by_the_rules_of_its_language(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Das ist z.B. ein Satz. Das ist noch einer.\n")
    (german,) = read_documents(TextSource([path], "running", "de"), PLAIN)
    assert [len(sentence) for sentence in german] == [5, 4]
