"""What a model is tuned on is the text of the data sets, and nothing else of them."""

import json
import lzma
from pathlib import Path

import pytest
from benchmarks.tuning import DOMAINS, compare, medquad, reuters, table, write_text

SGML = """<REUTERS TOPICS="YES" NEWID="1"><TITLE>NOT THIS</TITLE><BODY>Showers continued in
Bahia, AT&amp;T said.
    The dry period means
little.
 Reuter
&#3;</BODY></REUTERS>
<REUTERS NEWID="2"><TITLE>NO BODY</TITLE></REUTERS>
<REUTERS NEWID="3"><BODY>Second one.
 REUTER
&#3;</BODY></REUTERS>
"""


def packed(path: Path, text: str, encoding: str = "utf-8") -> Path:
    with lzma.open(path, "wt", encoding=encoding) as file:
        file.write(text)
    return path


def test_reuters(tmp_path: Path) -> None:
    documents = reuters(packed(tmp_path / "r.sgm.xz", SGML, "latin-1"))
    assert list(documents) == [
        ["Showers continued in Bahia, AT&T said.", "The dry period means little."],
        ["Second one."],
    ]


def test_medquad(tmp_path: Path) -> None:
    rows = [("a", "1", "What?", "This  \n one."), ("a", "1", "Why?", "So."), ("b", "1", "Who?", "Me.")]
    lines = [json.dumps(dict(zip(("source", "doc", "question", "answer"), row, strict=True))) for row in rows]
    documents = medquad(packed(tmp_path / "m.jsonl.xz", "\n".join(lines) + "\n"))
    assert list(documents) == [["What?", "This one.", "Why?", "So."], ["Who?", "Me."]]


def test_a_text_is_written_once(tmp_path: Path) -> None:
    write_text(iter([["a b", "c"], [], ["d"]]), tmp_path / "text.txt")
    write_text(iter([["other"]]), tmp_path / "text.txt")
    assert (tmp_path / "text.txt").read_text(encoding="utf-8") == "a b\nc\n\nd\n"


@pytest.mark.slow
def test_a_comparison_of_seconds(tmp_path: Path) -> None:
    """The bundled model tuned for three seconds knows more of its own language than a new one of three seconds."""
    assert set(DOMAINS) == {"medquad", "reuters"}
    sample = Path(__file__).parents[2] / "examples" / "data" / "en.txt"
    text = tmp_path / "news.txt"
    text.write_text("".join(f"{line}\n\n" for line in sample.read_text(encoding="utf-8").splitlines()[:2000]), encoding="utf-8")
    row = compare("news", text, "en-small", str(text), 0.05, 1)
    assert row["changes"][0]["after"]["mean"] < row["scratch"]["mean"] / 2
    assert row["changes"][0]["after"]["tokens"] == row["scratch"]["tokens"]
    assert row["changes"][0]["after"]["oov"] == row["scratch"]["oov"]
    assert table([row]).count("\n") == 2
