"""Words by Zipf's law, each of them in the vocabulary; and a few real steps of the smallest size."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.long_runs import Row
from benchmarks.vocabulary_size import Setting, drawn_ranks, main, make_text, measure, spelled, step_forecast, write_text

from benchmarks import vocabulary_size

SETTING = Setting(size=2500, softmax="sampled", precision="float32", preset="tiny", threads=1, tokens=4000, seconds=0.0)


def test_words_are_spelled_by_rank() -> None:
    assert [spelled(rank) for rank in (0, 25, 26, 27, 701, 702)] == ["a", "z", "aa", "ab", "zz", "aaa"]
    assert len({spelled(rank) for rank in range(20_000)}) == 20_000


def test_frequencies_follow_zipfs_law() -> None:
    counts_N = np.bincount(drawn_ranks(1000, 200_000, seed=1), minlength=1000)
    harmonic = (1 / np.arange(1, 1001)).sum()
    for rank in (1, 2, 10, 100):
        assert counts_N[rank - 1] == pytest.approx(200_000 / harmonic / rank, rel=0.15), rank
    assert counts_N.sum() == 200_000
    assert np.array_equal(drawn_ranks(10, 50, seed=4), drawn_ranks(10, 50, seed=4))


def test_first_come_drawn_words_then_each_word_once(tmp_path: Path) -> None:
    write_text(tmp_path / "text", 500, 1000, seed=1, every_word=True)
    lines = (tmp_path / "text").read_text().splitlines()
    words = [word for line in lines for word in line.split()]
    assert words[1000:] == [spelled(rank) for rank in range(500)]
    assert Counter(words[:1000]).most_common(1)[0][0] == "a"
    assert max(len(line.split()) for line in lines) <= 40
    write_text(tmp_path / "short", 500, 1000, seed=1, every_word=False)
    assert (tmp_path / "short").read_text().split() == words[:1000]


def test_steps_of_both_softmaxes_are_timed(tmp_path: Path) -> None:
    assert make_text(SETTING, tmp_path)["words"] == SETTING.size
    sampled, full = (measure(replace(SETTING, softmax=softmax), tmp_path) for softmax in ("sampled", "full"))
    for row in (sampled, full):
        assert row["vocabulary"] == SETTING.size
        assert row["steps"] == 2, "one to warm up; there is text for three"
        assert row["tokens_per_second"] == pytest.approx(1280 / row["step_seconds"], rel=0.01)
        assert 0 < row["fastest_step"] <= row["step_seconds"] <= row["slowest_step"]
        assert row["head"] == SETTING.size * (64 + 1)
        assert row["peak"] >= row["before"] > 0
    assert not (tmp_path / "none").exists(), "no checkpoint is written"


def test_a_row_for_each_size_and_none_is_measured_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With figures that stand for a machine on which a step takes a second for a hundred thousand words."""
    calls: list[str] = []

    def apart(function: object, setting: Setting, folder: Path) -> Row:
        if function is make_text:
            calls.append(f"text {setting.size}")
            (folder / "train.txt").touch()
            return {"words": setting.size}
        calls.append(f"{setting.size} {setting.softmax} {setting.precision}")
        if setting.size == 400_000 and setting.softmax == "sampled":
            raise ValueError("the process that measured ended with status -9")
        seconds = setting.size / 1e5 if setting.softmax == "full" else 0.5
        return {
            "tokens_per_second": 1280 / seconds,
            "step_seconds": seconds,
            "peak": 5e8,
            "body": 10**6,
            "head": 129 * setting.size,
        }

    monkeypatch.setattr(vocabulary_size, "apart", apart)
    numbers = tmp_path / "rows.json"
    options = ["--sizes", "400000", "100000", "900000", "--precision", "bfloat16", "--json", str(numbers)]
    assert main([*options, "--plot", str(tmp_path / "plot.svg")]) == 0
    assert calls == [
        *("text 100000", "100000 sampled bfloat16", "100000 full bfloat16"),
        *("text 400000", "400000 sampled bfloat16", "400000 full bfloat16"),
        *("text 900000", "900000 sampled bfloat16"),
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert rows[2:] == [
        ["100,000", "sampled", "bfloat16", "2,560", "0.50", "500", "13.9", "12.9"],
        ["400,000", "sampled", "bfloat16", "–", "the process that measured ended with status -9", "–", "–", "–"],
        ["900,000", "sampled", "bfloat16", "2,560", "0.50", "500", "117.1", "116.1"],
        ["100,000", "full", "bfloat16", "1,280", "1.00", "500", "13.9", "12.9"],
        ["400,000", "full", "bfloat16", "320", "4.00", "500", "52.6", "51.6"],
        ["900,000", "full", "bfloat16", "–", "about 9 s a step", "–", "–", "–"],
    ]
    assert (tmp_path / "plot.svg").stat().st_size > 1000
    assert len(json.loads(numbers.read_text())["rows"]) == 4
    calls.clear()
    assert main(options) == 0
    assert calls == ["text 400000", "400000 sampled bfloat16"], "only what failed is tried again"


def test_a_step_is_forecast_by_the_largest_size_below() -> None:
    full = replace(SETTING, softmax="full")
    found = {full: {"step_seconds": 1.0}, replace(full, size=5000): {"step_seconds": 3.0}, SETTING: {"step_seconds": 9.0}}
    assert step_forecast(replace(full, size=10_000), found) == 6.0
    assert step_forecast(replace(full, precision="bfloat16"), found) == 0.0
    assert step_forecast(replace(full, size=7500), {**found, replace(full, size=7000): {"left_out": "about 9 s"}}) == 4.5
