"""A search with two trials of a moment each, gone on with for a third; what it writes is what `elmo pretrain` takes."""

import importlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT

from elmokit.cli.main import main as elmo
from elmokit.cli.main import read_options
from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.pretraining.recipes import PRESETS

NAME = "examples.tune_hyperparameters"
SCRIPT = ROOT / "examples" / "tune_hyperparameters.py"
needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed: elmokit[examples]")


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example, with a size that takes a moment for a step."""
    smaller = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4), (2, 4)), highways=1), cell_dim=12, projection_dim=8)
    monkeypatch.setitem(PRESETS, "tiny", smaller)
    return importlib.import_module(NAME)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A search whose trials take a moment, but for the number of its trials."""
    generator = random.Random(0)
    lines = (" ".join(f"w{int(30 * generator.random() ** 2)}" for _ in range(generator.randint(2, 9))) for _ in range(200))
    text = tmp_path / "text.txt"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = ["--corpus", str(text), "--heldout", str(text), "--out", str(tmp_path / "search")]
    return [*files, "--sizes", "tiny", "--trial-minutes", "0.005", "--hours", "1"]


def rows(table: str) -> list[list[str]]:
    """The cells of each trial."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


@needs_optuna
def test_it_goes_on_where_it_was_and_its_best_options_are_taken(
    tune: Any, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "search"
    tune.main([*words, "--trials", "2"])
    first = capsys.readouterr().out
    assert first == (folder / "trials.md").read_text(encoding="utf-8")
    assert {row[0] for row in rows(first)} == {"0", "1"}
    [defaults] = [row for row in rows(first) if row[0] == "0"]
    assert defaults[1:5] == ["tiny", "0.005", "0.1", "64"]
    read = (folder / "trial.training/corpus/corpus.json").stat()

    tune.main([*words, "--trials", "3"])
    table = rows(capsys.readouterr().out)
    assert len(table) == 3
    assert {tuple(row) for row in rows(first)} < {tuple(row) for row in table}
    assert len({tuple(row[2:5]) for row in table}) == 3, "a search that goes on must not draw the first trials again"
    perplexities = [float(row[-1]) for row in table]
    assert perplexities == sorted(perplexities)
    assert (folder / "trial.training/corpus/corpus.json").stat() == read, "the text is read once"
    assert not (folder / "trial.training/checkpoints").exists()

    best = read_options(folder / "best.yaml")
    told = [str(best[name]) for name in ("preset", "learning-rate", "dropout", "batch-size")]
    assert told == table[0][1:5]
    files = ["--corpus", str(tmp_path / "text.txt"), "--heldout", str(tmp_path / "text.txt"), "--out", str(tmp_path / "model")]
    assert elmo(["pretrain", "--config", str(folder / "best.yaml"), *files, "--steps", "1"]) == 0
    run = json.loads((tmp_path / "model.training/run.json").read_text(encoding="utf-8"))
    assert [str(run["recipe"][name]) for name in ("learning_rate", "dropout", "batch_size")] == told[1:]
    assert run["vocabulary_size"] == best["vocab-size"]


@needs_optuna
def test_another_search_in_the_same_folder_is_refused(tune: Any, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tune.main([*words, "--trials", "1"])
    with pytest.raises(ValueError, match=r"holds a search with other --vocab-size, --trial-minutes: give the same"):
        tune.main([*words, "--trials", "2", "--trial-minutes", "0.006", "--vocab-size", "20"])
    capsys.readouterr()
    tune.main([*words, "--trials", "1", "--vocab-size", "20", "--resume", "never"])
    assert len(rows(capsys.readouterr().out)) == 1


@needs_optuna
def test_the_hours_are_those_of_all_trials(tune: Any, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="--hours 0.001 has no room for a trial of --trial-minutes 5"):
        tune.main([*words, "--hours", "0.001", "--trial-minutes", "5"])
    short = [*words, "--hours", "0.0001"]
    tune.main(short)
    first = capsys.readouterr().out
    assert len(rows(first)) == 1
    tune.main(short)
    assert capsys.readouterr().out == first


@needs_optuna
def test_a_trial_that_is_not_promising_ends_early(
    tune: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which one that is, is Optuna's to say."""
    monkeypatch.setattr(tune.optuna.Trial, "should_prune", lambda trial: trial.number == 1)
    tune.main([*words, "--trials", "2"])
    table = rows(capsys.readouterr().out)
    assert [row[0] for row in table] == ["0", "1"]
    assert table[1][-1].endswith(", ended early")
    assert float(table[1][5]) < float(table[0][5]), "it has read less"


@needs_optuna
def test_a_rate_that_diverges_does_not_end_the_search(
    tune: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(*_: Any, **__: Any) -> None:
        raise ValueError("step 3: the loss or its gradient is not finite")

    monkeypatch.setattr(tune, "train", diverge)
    tune.main([*words, "--trials", "1"])
    assert rows(capsys.readouterr().out)[0][-1] == "too large or diverged, ended early"


@needs_optuna
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_it_goes_on_after_it_was_killed(tune: Any, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen([sys.executable, str(SCRIPT), *words, "--trials", "1000"], stdout=file, stderr=file)
        while "trial 1:" not in log.read_text(encoding="utf-8"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    tune.main([*words, "--trials", "2"])
    assert sorted(row[0] for row in rows(capsys.readouterr().out)) == ["0", "2"]
    storage = tune.optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'search' / 'study.db'}")
    states = [trial.state.name for trial in storage.get_all_trials(storage.get_study_id_from_name("elmokit"))]
    storage.remove_session()
    storage.engine.dispose()
    assert states == ["COMPLETE", "FAIL", "COMPLETE"], "the sampler must not wait for the one that was killed"


def test_without_optuna_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    with pytest.raises(SystemExit, match=r"^tune_hyperparameters needs Optuna: pip install 'optuna>=4.0'$"):
        importlib.import_module(NAME)
