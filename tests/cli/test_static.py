"""`elmo static`."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.golden.cases import DATA

from elmokit.cli import static
from elmokit.cli.main import main
from elmokit.embedding.elmo import Elmo

MODEL = DATA / "models/random_tiny"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("the bank closed\n\nby the river\n", encoding="utf-8")
    return path


def read_text(path: Path) -> dict[str, NDArray[np.float64]]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {line.split(" ")[0]: np.array(line.split(" ")[1:], dtype=np.float64) for line in lines}


@pytest.mark.filterwarnings("default:.*white space")
def test_a_list_of_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("bank\n\n 银行 \nNew York\n", encoding="utf-8")
    assert main(["static", str(MODEL), str(tmp_path / "v.txt"), "--words", str(tmp_path / "words.txt")]) == 0
    output = capsys.readouterr()
    assert "3 words of 16 numbers" in output.out
    assert output.err == 'elmo: warning: 1 word(s) with white space in them are written with "_" in its place\n'
    found = read_text(tmp_path / "v.txt")
    expected = Elmo.from_pretrained(MODEL, device="cpu").encode_tokens([["bank", "银行", "New York"]], layers=0)[0]
    assert list(found) == ["bank", "银行", "New_York"]
    np.testing.assert_allclose(list(found.values()), expected, rtol=0, atol=1e-6)


def test_averages_over_a_corpus(corpus: Path, tmp_path: Path) -> None:
    assert main(["static", str(MODEL), str(tmp_path / "v.txt"), "--corpus", str(corpus), "--layers", "top"]) == 0
    found = read_text(tmp_path / "v.txt")
    assert list(found) == ["the", "bank", "closed", "by", "river"]
    first, second = Elmo.from_pretrained(MODEL, device="cpu").encode_tokens(
        [["the", "bank", "closed"], ["by", "the", "river"]], layers="top"
    )
    np.testing.assert_allclose(found["the"], (first[0] + second[1]) / 2, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["river"], second[2], rtol=0, atol=1e-6)


def test_the_name_or_the_option_chooses_the_format(corpus: Path, tmp_path: Path) -> None:
    for name, options in (("v.bin", []), ("v.vec", ["--format", "binary"])):
        assert main(["static", str(MODEL), str(tmp_path / name), "--corpus", str(corpus), *options]) == 0
        size = len("5 16\n") + sum(len(word) + 2 + 4 * 16 for word in ("the", "bank", "closed", "by", "river"))
        assert (tmp_path / name).stat().st_size == size
    running = ["--layout", "running", "--tokenizer", "whitespace", "--max-words", "2", "--min-count", "1"]
    assert main(["static", str(MODEL), str(tmp_path / "v.txt"), "--corpus", str(corpus), *running]) == 0
    assert list(read_text(tmp_path / "v.txt")) == ["the", "bank"]


def test_the_bundled_models_vocabulary(tmp_path: Path) -> None:
    assert main(["static", "en-small", str(tmp_path / "v.txt"), "--max-words", "300"]) == 0
    found = read_text(tmp_path / "v.txt")
    assert len(found) == 300
    assert {"the", "of", "and"} <= set(found)
    assert all(math.isfinite(vector.sum()) for vector in found.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "has no vocabulary; name the words with --words, or a text with --corpus"),
        (["--corpus", "c.txt", "--words", "c.txt"], "--words and --corpus exclude each other"),
        (["--words", "c.txt", "--min-count", "2"], "--min-count and --layers above 0 are for words in context"),
        (["--words", "c.txt", "--layers", "top"], "--min-count and --layers above 0 are for words in context"),
        (["--corpus", "no-such-file"], "no-such-file"),
        (["--words", "no-such-file"], "no-such-file"),
        (["--corpus", "c.txt", "--min-count", "0"], "--min-count must be 1 or more"),
        (["--corpus", "c.txt", "--layers", "9"], "this model has the layers 0 to 2"),
        (["--corpus", "c.txt", "--tokenizer", "magic"], "tokenizer must be one of"),
        (["--corpus", "c.txt", "--min-count", "99"], "there is no word to write"),
        (["--corpus", "bad.txt"], "bad.txt, line 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.txt").write_text("the bank\n", encoding="utf-8")
    Path("bad.txt").write_bytes(b"a\n\xff\n")
    assert main(["static", str(MODEL), "out/v.txt", *options]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert said in output.err
    assert sorted(path.name for path in Path().iterdir()) == ["bad.txt", "c.txt"]


def test_standard_input_cannot_be_read_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--corpus is read twice"):
        static(MODEL, tmp_path / "v.txt", corpus="-")


def test_the_output_is_no_input(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["static", str(MODEL), str(corpus), "--corpus", str(corpus)]) == 2
    assert "is the input" in capsys.readouterr().err
