"""A data set in the Hub's formats as a corpus; the Hub itself is a folder here."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from elmokit.config import TextConfig
from elmokit.errors import MissingExtraError
from elmokit.pretraining.corpus import build_corpus
from elmokit.pretraining.hub_data import HubData
from elmokit.pretraining.reading import TextSource, read_documents
from elmokit.text.files import ReadCounts

PLAIN = TextConfig(tokenizer="whitespace")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """350 rows in two files, as a data set's repository holds them."""
    pytest.importorskip("datasets", reason="the extra elmokit[datasets] is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    rows = [json.dumps({"id": i, "text": f"first{i} line\n\nsecond{i} line" if i % 7 else " "}) for i in range(350)]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train-00000-of-00002.jsonl").write_text("\n".join(rows[:200]) + "\n", encoding="utf-8")
    (folder / "train-00001-of-00002.jsonl.gz").write_bytes(gzip.compress(("\n".join(rows[200:]) + "\n").encode()))
    return folder


def test_rows_are_documents(folder: Path) -> None:
    source = TextSource([f"hub:{folder}"])
    documents = list(read_documents(source, PLAIN))
    assert len(documents) == 300
    assert documents[0] == [["first1", "line"], ["second1", "line"]]
    assert documents[-1] == [["first349", "line"], ["second349", "line"]]
    assert source.counts == ReadCounts(lines=950, empty=350)


def test_it_is_a_corpus(folder: Path, tmp_path: Path) -> None:
    source = TextSource([f"hub:{folder}?split=train&column=text"])
    corpus = build_corpus(source, None, tmp_path / "shards", PLAIN, 20)
    assert corpus.facts["tokens"] + len(corpus.heldout.tokens) == 1200
    assert corpus.facts["train"]["files"] == [[f"hub:{folder}?split=train&column=text"]]


def test_reading_goes_on_at_a_row(folder: Path) -> None:
    data = HubData(str(folder))
    counts, again = ReadCounts(), ReadCounts()
    every = list(data.documents(0, counts, "skip"))
    assert list(data.documents(every[100][1], again, "skip")) == every[101:]
    assert counts == again


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("hub:{}?split=test", "test"),
        ("hub:{}?column=body", "no text in the column 'body'; there are id, text"),
        ("hub:{}?column=id", "no text in the column 'id'"),
        ("hub:{}?colour=red", "a data set is written hub:NAME"),
        ("hub:", "a data set is written hub:NAME"),
        ("hub:{}/nowhere", "nowhere"),
    ],
)
def test_what_is_not_there_is_one_error(folder: Path, pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match="hub:") as caught:
        list(read_documents(TextSource([pattern.format(folder)]), PLAIN))
    assert said in str(caught.value)


def test_it_stands_alone() -> None:
    with pytest.raises(ValueError, match="must stand alone"):
        TextSource(["hub:owner/name", "other.txt"]).units()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"elmokit\[datasets\]"):
        list(HubData("owner/name").documents(0, ReadCounts(), "skip"))
