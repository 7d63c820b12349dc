"""The measurement of workers: a tiny model and a few words show that every row is a run that ends well."""

import json
import sys
from pathlib import Path

import pytest
from benchmarks.embed_workers import Run

from benchmarks import embed_workers

ROOT = Path(__file__).parent.parent.parent
MODEL = str(ROOT / "tests/golden/data/models/random_tiny")


def test_made_up_text_is_always_the_same(tmp_path: Path) -> None:
    embed_workers.write_text(tmp_path / "a", embed_workers.invented_lines(1000), 1000)
    embed_workers.write_text(tmp_path / "b", embed_workers.invented_lines(1000), 1000)
    text = (tmp_path / "a").read_text()
    assert text == (tmp_path / "b").read_text()
    assert len(text.split()) == 1000


def test_a_given_text_ends_after_so_many_words(tmp_path: Path) -> None:
    embed_workers.write_text(tmp_path / "a", iter(["one two", "three four", "five six"]), 3)
    assert (tmp_path / "a").read_text() == "one two\nthree four\n"


def test_the_best_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {"one": [9.0, 8.0], "overlap": [6.0, 6.5], "workers": [4.0, 5.0], "parts": [2.0, 3.0]}
    seen: list[tuple[str, int, int]] = []

    def run(words: list[str], cores: int, threads: int) -> Run:
        several = words[words.index("--workers") + 1 :][:1] if "--workers" in words else []
        name = ("parts" if "--format" in words else "workers") if several == ["2"] else "one" if cores == 1 else "overlap"
        assert words[1].endswith("out" if name == "parts" else "out.h5")
        assert len(Path(words[0]).read_text().split()) == 50
        seen.append((name, cores, threads))
        return Run(seconds[name].pop(0), 7.0, "as it says")

    monkeypatch.setattr(embed_workers, "run", run)
    options = ["--tokens", "50", "--repeats", "2", "--suffix", "h5", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["embed_workers.py", *options])
    embed_workers.main()
    assert seen == [("one", 1, 1), ("overlap", 2, 1), ("workers", 2, 2), ("parts", 2, 2)] * 2
    rows = json.loads((tmp_path / "out.json").read_text())
    found = {name: (row["seconds"], row["speedup"]) for name, row in rows.items()}
    assert found == {"one": (8.0, 1.0), "overlap": (6.0, 8 / 6), "workers": (4.0, 2.0), "parts": (2.0, 4.0)}
    assert "workers        4.0       7.0     2.00   as it says" in capsys.readouterr().out


@pytest.mark.slow
def test_real_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    options = ["--model", MODEL, "--tokens", "3000", "--repeats", "1", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["embed_workers.py", *options])
    embed_workers.main()
    rows = json.loads(out.read_text())
    assert set(rows) == {"one", "overlap", "workers", "parts"}
    for row in rows.values():
        assert row["summary"].startswith("3,000 tokens in ")
        assert row["seconds"] > 0
        assert row["cpu_s"] > 0
        assert row["speedup"] == pytest.approx(rows["one"]["seconds"] / row["seconds"])


def test_a_run_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="missing.txt: no such file"):
        embed_workers.run([str(tmp_path / "missing.txt"), str(tmp_path / "out.h5")], 1, 1)
