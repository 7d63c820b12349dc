"""Every file of `configs/` is an option file that `elmo pretrain --config` takes."""

from pathlib import Path

import pytest

from elmokit.cli.main import main, read_options
from elmokit.pretraining.recipes import PRESETS

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def test_there_is_one_for_each_preset() -> None:
    assert {str(read_options(path).get("preset")) for path in CONFIGS} == {*PRESETS, "auto"}


LARGE = ("mini.yaml", "small.yaml", "medium.yaml", "original.yaml")
"""Some steps of these take half a minute and more."""


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] if path.name in LARGE else []) for path in CONFIGS],
    ids=lambda path: path.name,
)
def test_it_loads_and_gives_a_plan(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("I sat by the river bank .\n" * 4000, encoding="utf-8")
    words = ["pretrain", "--config", str(path), "--corpus", str(corpus), "--out", str(tmp_path / "model"), "--dry-run"]
    assert main(words) == 0, capsys.readouterr().err
    assert "tokens/s" in capsys.readouterr().out
    assert not (tmp_path / "model").exists()
