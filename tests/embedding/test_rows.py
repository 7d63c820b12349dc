"""Texts out of lines and tables."""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from elmokit.embedding.rows import Row, read_rows
from elmokit.errors import FormatError

TEXTS = ["one text", "", 'with "quotes", a comma\nand a line', "银行 — naïve", " spaces "]
IDS = ["a", "b", "c", "d", "e"]


def write_csv(path: Path) -> None:
    quoted = ['"' + text.replace('"', '""') + '"' for text in TEXTS]
    path.write_text("id,text,more\n" + "".join(f"{i},{text},x\n" for i, text in zip(IDS, quoted, strict=True)), "utf-8-sig")


def write_jsonl(path: Path) -> None:
    lines = [json.dumps({"id": i, "text": text, "more": [1]}) for i, text in zip(IDS, TEXTS, strict=True)]
    path.write_text("\n\n".join(lines) + "\n")


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"id": IDS, "more": range(5), "text": TEXTS}), path, row_group_size=2)


@pytest.mark.parametrize(("name", "write"), [("t.csv", write_csv), ("t.jsonl", write_jsonl), ("t.PARQUET", write_parquet)])
def test_tables(tmp_path: Path, name: str, write: Any) -> None:
    path = tmp_path / name
    write(path)
    assert list(read_rows(path, "text", "id")) == [Row(n, *pair) for n, pair in enumerate(zip(IDS, TEXTS, strict=True))]
    assert [row.id for row in read_rows(path, "text")] == [None] * 5
    assert [row.text for row in read_rows(path, "id", "id")] == IDS


def test_tsv_has_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('text\tlabel\n"Hello," he said.\t1\n"\t2\n')
    assert [row.text for row in read_rows(path, "text")] == ['"Hello," he said.', '"']


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes("\ufeffone\r\n\n二\n".encode())
    assert list(read_rows(path)) == [Row(0, None, "one"), Row(1, None, ""), Row(2, None, "二")]


def test_packed_files(tmp_path: Path) -> None:
    lines, table = tmp_path / "t.txt.gz", tmp_path / "t.csv.zst"
    lines.write_bytes(gzip.compress(b"one\ntwo\n"))
    table.write_bytes(zstandard.compress(b"text\none\n"))
    assert [row.text for row in read_rows(lines)] == ["one", "two"]
    assert [row.text for row in read_rows(table, "text")] == ["one"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo")))
    assert [row.text for row in read_rows("-")] == ["one", "two"]


def test_a_very_long_field(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text\n" + "word " * 60_000 + "\n")
    assert len(next(read_rows(path, "text")).text) == 300_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.txt",
            "x",
            r"t\.txt: --column and --id-column are for \.csv, \.tsv, \.jsonl, \.parquet; this is read as one text a line",
        ),
        ("t.csv", "a,b\n1,2\n", r"t\.csv: no column 'text'; there are a, b"),
        ("t.csv", "", r"t\.csv: no column 'text'; there are none"),
        ("t.csv", "a,text\n1,2\n3\n", r"t\.csv, line 3: 1 columns, expected 2 as in the first line"),
        ("t.csv", 'text\n"open\n', r"t\.csv, line 2: unexpected end of data"),
        ("t.jsonl", '{"text": "a"}\n{"texts": "b"}\n', r"t\.jsonl, line 2: no key 'text'; there are texts"),
        ("t.jsonl", '{"text": "a"\n', r"t\.jsonl, line 1: not JSON \(.*\); expected one object a line"),
        ("t.jsonl", '["a"]\n', r"t\.jsonl, line 1: expected a JSON object, found list"),
        ("t.jsonl", '{"text": null}\n', r"t\.jsonl, line 1: the text is None, expected a string"),
        ("t.jsonl", '{"text": 3}\n', r"t\.jsonl, line 1: the text is 3, expected a string"),
        ("t.jsonl", '{"text": "\\ud800"}\n', r"t\.jsonl, line 1: half of a surrogate pair"),
        ("t.parquet", "no parquet", r"t\.parquet: damaged or no parquet file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        list(read_rows(path, "text"))


def test_columns_of_parquet_are_named_too(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["a", None], "number": [1, 2]}), path)
    with pytest.raises(ValueError, match="no column 'texts'; there are text, number"):
        list(read_rows(path, "texts"))
    with pytest.raises(FormatError, match="row 1: the text is None, expected a string"):
        list(read_rows(path, "text"))
    with pytest.raises(FormatError, match="row 0: the text is 1, expected a string"):
        list(read_rows(path, "number"))


def test_a_table_in_another_compression(tmp_path: Path) -> None:
    (tmp_path / "t.csv.bz2").write_bytes(b"BZh9\xff")
    with pytest.raises(ValueError, match=r"t\.csv\.bz2: this compression is not supported"):
        read_rows(tmp_path / "t.csv.bz2", "text")


def test_a_table_needs_its_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text\na\n")
    with pytest.raises(ValueError, match="say with --column which column holds the texts"):
        read_rows(path)


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.parquet"])
def test_a_file_that_is_none(tmp_path: Path, name: str) -> None:
    column = None if name == "t.txt" else "text"
    with pytest.raises(ValueError, match="no such file"):
        list(read_rows(tmp_path / name, column))
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        list(read_rows(tmp_path / name, column))
