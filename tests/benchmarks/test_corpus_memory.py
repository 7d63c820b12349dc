"""The text that grows, new words by Heaps' law, and two small corpora read in processes of their own."""

import itertools
import json
import random
from pathlib import Path

import pytest
from benchmarks.corpus_memory import GrowingText, heaps_beta, main, new_letters

from benchmarks import corpus_memory


def write_lines(path: Path, words: int, seed: int = 1) -> list[str]:
    """Text whose vocabulary grows with the square root of its length."""
    draw, known = random.Random(seed), 0
    lines, line = [], list[str]()
    for place in range(words):
        if known < 3 * place**0.5:
            line.append("w" + new_letters(known))
            known += 1
        else:
            line.append("w" + new_letters(int(known * draw.random() ** 3)))
        if len(line) == 15:
            lines.append(" ".join(line))
            line = []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def test_the_text_comes_as_it_is_and_grows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two\nthree  four five\n")
    (tmp_path / "b.txt").write_text("six\nseven eight\n")
    text = GrowingText([tmp_path / "a.txt", tmp_path / "b.txt"], tmp_path / "out.txt")
    text.grow(3)
    assert text.target.read_text() == "one two\nthree  four five\n"
    text.grow(6)
    assert text.target.read_text() == "one two\nthree  four five\nsix\n"
    assert (text.words, text.times_over, text.new) == (6, 1.0, 0)


def test_what_is_repeated_has_new_words_by_heaps_law(tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "text.txt", 30_000)
    text = GrowingText([tmp_path / "text.txt"], tmp_path / "out.txt")
    text.grow(150_000)
    written = (tmp_path / "out.txt").read_text().splitlines()
    assert written[: len(lines)] == lines
    assert text.times_over == pytest.approx(5, rel=1e-3)
    assert text.beta == pytest.approx(0.5, abs=0.02), "as the text was made"
    for times in (2, 3, 5):
        distinct = len({word for line in written[: times * len(lines)] for word in line.split()})
        assert distinct == pytest.approx(text.distinct * times**text.beta, rel=0.01)
    changed = [
        (old, new)
        for old, line in zip(itertools.cycle(" ".join(lines).split()), " ".join(written).split(), strict=False)
        for new in [line]
        if old != new
    ]
    assert len(changed) == text.new
    assert all(new.startswith(old) and len(new) == len(old) + 7 for old, new in changed)


def test_heaps_law_through_two_points() -> None:
    assert heaps_beta([(0, 0), (100, 10), (5000, 60)], 10_000, 90) == pytest.approx(0.585, abs=1e-3)
    assert heaps_beta([(0, 0), (10, 7)], 10, 7) == 1.0


def test_new_letters_are_never_the_same() -> None:
    assert len({new_letters(number) for number in range(2000)}) == 2000
    assert {len(new_letters(number)) for number in (0, 25, 26, 26**6 - 1)} == {7}


def test_sizes_are_measured_once_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(tmp_path / "text.txt", 40_000)
    numbers = tmp_path / "memory.json"
    options = [str(tmp_path / "text.txt"), "--sizes", "0.3", "0.035", "--workers", "2", "--json", str(numbers)]
    options += ["--tokenizer", "whitespace"]
    assert main([*options, "--work", str(tmp_path), "--plot", str(tmp_path / "memory.svg")]) == 0
    printed = capsys.readouterr().out
    small, large = (row["found"] for row in json.loads(numbers.read_text())["rows"])
    assert 35_000 <= small["tokens"] < 35_015
    assert 300_000 <= large["tokens"] < 300_015
    assert small["times_over"] == 1
    assert large["times_over"] == pytest.approx(7.5, rel=1e-2)
    assert large["distinct"] > 2 * small["distinct"]
    assert large["text_bytes"] > 2 << 20, "more than two blocks, so that both workers read"
    assert small["workers"] == []
    assert len(large["workers"]) == 2
    for row in (small, large):
        assert 0 < row["own"] < row["main"], "what is mapped is no memory of its own"
        assert 1e8 < row["before"] <= row["main"], "PyTorch alone takes so much"
        assert row["all"] == row["main"] + sum(row["workers"])
        assert row["corpus_bytes"] > 4 * row["tokens"]
    assert all(1e7 < worker < large["main"] for worker in large["workers"])
    rows = [line.split("|")[1:3] for line in printed.splitlines() if line.startswith("| 0.")]
    assert [[cell.strip() for cell in row] for row in rows] == [["0.035", "1.00"], ["0.3", "7.50"]]
    assert "Heaps' law with β = 0.5" in printed
    assert (tmp_path / "memory.svg").stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory.json", "memory.svg", "text.txt"]

    monkeypatch.setattr(corpus_memory, "measure", None)  # it is called no more
    assert main(options) == 0
    assert capsys.readouterr().out == printed


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    assert main([str(tmp_path / "empty.txt"), "--sizes", "1"]) == 2
    assert "empty.txt: there is no text; check the files" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.txt")]) == 2
    assert "missing.txt: no such file" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.txt"), "--plot", "memory.doc"]) == 2
    assert "--plot memory.doc: unknown extension" in capsys.readouterr().err
