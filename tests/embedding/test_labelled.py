"""Files of labelled sentences."""

import csv
import io
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.embedding import labelled
from elmokit.embedding.labelled import ENDINGS, Layout, Record, read_records
from elmokit.errors import FormatError
from elmokit.text.tokenizers import get_tokenizer

COLUMN = {".tsv": "text", ".csv": "text", ".jsonl": "text"}


def records_of(path: Path, **options: Any) -> list[Record]:
    layout = Layout(**{"column": COLUMN.get(path.suffix), **options})
    return list(read_records(str(path), layout, get_tokenizer("words")))


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8", newline="")
    return path


def words(record: Record) -> list[str] | None:
    return None if record.tokens is None else [token.text for token in record.tokens]


characters = st.characters(exclude_categories=["Cs", "Cc"])
fields = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=5)
rows = st.lists(st.tuples(fields, fields, st.sampled_from(["O", "B-PER", "I-PER"])), min_size=1, max_size=5)


@given(sentences=st.lists(rows, min_size=1, max_size=4), separator=st.sampled_from(["\t", " ", "  "]), data=st.data())
def test_conll_keeps_columns_labels_and_lines(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, ...]]], separator: str, data: st.DataObject
) -> None:
    """In columns number, word, extra, label; a comment before some sentences."""
    blocks = [
        "# id = 1\n" * data.draw(st.integers(0, 2))
        + "".join(separator.join([str(number), *row]) + "\n" for number, row in enumerate(sentence))
        for sentence in sentences
    ]
    path = written(tmp_path_factory.mktemp("conll") / "train.conll", "\n".join(blocks))
    records = records_of(path, token_column=1)
    assert "".join(record.lines for record in records) == "\n".join(blocks) + "\n"
    for record, sentence in zip(records, sentences, strict=True):
        assert words(record) == [row[0] for row in sentence]
        assert record.allowed == [row[2] == "O" for row in sentence]
        assert record.labelled == record.allowed.count(False)
        place = data.draw(st.integers(0, len(sentence) - 1))
        old, new = record.lines.split("\n"), record.rewrite({place: "elmo"}).split("\n")
        first = len(old) - 2 - len(sentence)
        assert old[:first] == new[:first]
        for number, (before, after) in enumerate(zip(old[first:-2], new[first:-2], strict=True)):
            expected = before.split(separator)
            expected[1] = "elmo" if number == place else expected[1]
            assert after == separator.join(expected)
        assert new[-2:] == ["", ""]


def test_conll_details(tmp_path: Path) -> None:
    content = "-DOCSTART- -X- O O\n\n\n# a comment\n#tag\tO\nNew\u00a0York\tB-LOC\n#\tO\n \nend O\nlast _"
    heading, empty, sentence, other = records_of(written(tmp_path / "a.bio", content))
    assert words(heading) is words(empty) is None
    assert words(sentence) == ["#tag", "New\u00a0York", "#"]
    assert sentence.lines.endswith("#\tO\n \n")
    assert words(other) == ["end", "last"]
    assert other.allowed == [True, True]
    assert other.lines == "end O\nlast _\n\n", "the last sentence ends too"


def test_conll_label_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", "dog NOUN O\nruns VERB B-X\n")
    assert records_of(path)[0].allowed == [True, False]
    assert records_of(path, label_column=1)[0].allowed == [False, False]
    assert records_of(path, replace_labelled=True)[0].allowed == [True, True]
    assert records_of(path, label_column=0)[0].allowed == [True, True], "the words are no labels"
    assert records_of(written(tmp_path / "b.conll", "dog\nruns\n"))[0].allowed == [True, True]


def test_lines_of_text(tmp_path: Path) -> None:
    first, empty, last = records_of(written(tmp_path / "a.txt", "\ufeffI can't\t go !\r\n \nEnd"))
    assert (first.lines, empty.lines, last.lines) == ("I can't\t go !\n", " \n", "End\n")
    assert words(empty) is None
    assert words(first) == ["I", "ca", "n't", "go", "!"]
    assert first.allowed == [True, False, False, True, True]
    assert first.rewrite({3: "run"}) == "I can't\t run !\n"


texts = st.text(characters, max_size=20)


@given(table=st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=4), kind=st.sampled_from([".tsv", ".csv", ".jsonl"]))
def test_tables_keep_their_other_columns(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, ...]], kind: str
) -> None:
    path = tmp_path_factory.mktemp("tables") / f"table{kind}"
    names = ["id", "text", "label"]
    written(path, "".join(map(LINES[kind], [*([names] if kind != ".jsonl" else []), *map(list, table)])))
    records = records_of(path)
    assert "".join(record.lines for record in records) == path.read_text(encoding="utf-8")
    records = records if kind == ".jsonl" else records[1:]
    for record, row in zip(records, table, strict=True):
        tokens = get_tokenizer("words")(row[1])
        assert record.tokens == tokens
        changed = row[1] if not tokens else "elmo" + row[1][tokens[0].end :] if not tokens[0].start else None
        if changed is not None:
            assert parsed(kind, record.rewrite({0: "elmo"} if tokens else {})) == [row[0], changed, row[2]]


def csv_line(row: list[str]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(row)
    return file.getvalue()


def json_line(row: list[str]) -> str:
    return json.dumps(dict(zip(["id", "text", "label"], row, strict=True))) + "\n"


LINES = {".tsv": lambda row: "\t".join(row) + "\n", ".csv": csv_line, ".jsonl": json_line}


def parsed(kind: str, line: str) -> list[str]:
    if kind == ".jsonl":
        return list(json.loads(line).values())
    if kind == ".csv":
        return next(csv.reader(io.StringIO(line)))
    return line.removesuffix("\n").split("\t")


def test_a_column_by_number_with_and_without_a_header(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'good\t"well done\nbad\tno\n')
    assert [words(record) for record in records_of(path, column="1")] == [None, ["no"]]
    assert [words(record) for record in records_of(path, column="-1", header=False)] == [['"', "well", "done"], ["no"]]
    named = written(tmp_path / "b.csv", "1,0\na,b\n")
    assert words(records_of(named, column="0")[1]) == ["b"], "a name comes before a number"


def test_csv_over_several_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\n"one\n""two"", three",x\n\n"",y\n')
    header, row, empty, nothing = records_of(path)
    assert words(header) is words(empty) is None
    assert words(nothing) == []
    assert row.lines == '"one\n""two"", three",x\n'
    assert row.rewrite({2: "elmo"}) == '"one\n""elmo"", three",x\n'


def test_lists_of_words_in_json_lines(tmp_path: Path) -> None:
    content = '{"text": ["I", "ca", "n\'t"], "tags": [1, 2.5, null]}\n\n{"text": "我们", "other": "\\ud800"}\n'
    listed, empty, text = records_of(written(tmp_path / "a.jsonl", content))
    assert listed.rewrite({0: "We"}) == '{"text": ["We", "ca", "n\'t"], "tags": [1, 2.5, null]}\n'
    assert words(empty) is None
    assert json.loads(text.rewrite({0: "他"})) == {"text": "他", "other": "\ud800"}
    assert text.rewrite({0: "他"}).isascii()


def test_files_are_read_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """From lines that never end."""

    lines = {"conll": ["a\tb", ""], "jsonl": ['{"text": "a b"}']}
    for ending, kind in ENDINGS.items():
        monkeypatch.setattr(labelled, "read_lines", lambda path, kind=kind: itertools.cycle(lines.get(kind, ["a b"])))
        layout = Layout(column="0" if kind in ("tsv", "csv") else COLUMN.get(ending), header=False)
        found = list(itertools.islice(read_records(f"a{ending}", layout, get_tokenizer("whitespace")), 100))
        assert len(found) == 100


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("a.parquet", "", {}, "a.parquet: its name does not tell what it is; known are .conll, .bio, "),
        ("train", "", {}, "say it with --format (conll, text, "),
        ("a.txt", "", {"kind": "xml"}, "--format must be one of conll, text, tsv, csv, jsonl, not 'xml'"),
        ("a.tsv", "", {"column": None}, "a.tsv: say with --column which column holds the texts"),
        ("a.jsonl", "", {"column": None}, "a.jsonl: say with --column which key holds the texts"),
        ("a.conll", "", {"column": "text"}, "a.conll: --column is for .tsv, .csv and .jsonl; a CoNLL file has --token-column"),
        ("a.txt", "", {"replace_labelled": True}, "a.txt: --token-column, --label-column and --replace-labelled are for CoNLL"),
        ("a.conll", "a O\nb O", {"token_column": 2}, "a.conll, line 1: no column 2, there are 2, counted from 0; see --token-"),
        ("a.conll", "a b O\nb O", {"label_column": 2}, "a.conll, line 2: no column 2, there are 2, counted from 0; see --label-"),
        ("a.conll", "a\tO\n\tO", {}, "a.conll, line 2: no word in column 0"),
        ("a.tsv", "a\tb\n", {}, "a.tsv: no column 'text'; there are a, b"),
        ("a.tsv", "a\tb\n", {"column": "2"}, "a.tsv: no column '2'; there are a, b"),
        ("a.tsv", "a\tb\n", {"header": False}, "a.tsv: no column text; without a header --column is a number, 0 to 1"),
        ("a.tsv", "a\ttext\nb\n", {}, "a.tsv, line 2: 1 columns, so none of number 1, counted from 0"),
        ("a.csv", 'text\n"a', {}, "a.csv, line 2: unexpected end of data"),
        ("a.jsonl", "{", {}, "a.jsonl, line 1: not JSON"),
        ("a.jsonl", "3", {}, "a.jsonl, line 1: expected a JSON object, found int"),
        ("a.jsonl", '{"a": 1}', {}, "a.jsonl, line 1: no key 'text'; there are a"),
        ("a.jsonl", '{"text": [1]}', {}, "a.jsonl, line 1: the text is [1], expected a string or a list of words"),
        ("a.jsonl", '{"text": "\\ud800"}', {}, "a.jsonl, line 1: half of a surrogate pair"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, FormatError), match=re.escape(said)):
        records_of(written(tmp_path / name, content), **options)
