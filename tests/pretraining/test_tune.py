"""Measured, tuned, and measured again: once each, and by one process."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.pretraining.conftest import OLD_WORDS, RECIPE, old_model, sentences
from tests.pretraining.test_pretrain import interrupted_at, same_tensors

from elmokit.checkpoints.folder import load_folder, save_folder
from elmokit.errors import FormatError
from elmokit.lm.load import load_language_model
from elmokit.lm.perplexity import Perplexity, perplexity
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.pretrain import pretrain
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.tune import Change, table, tune
from elmokit.pretraining.tuning import Start
from elmokit.training.budget import Budget

Options = Callable[..., PretrainOptions]
MEASURED = "measuring the model before it is tuned"


@pytest.fixture
def old(tmp_path: Path) -> TextSource:
    """Text of the words that the model knows."""
    path = tmp_path / "old.txt"
    path.write_text("\n".join(" ".join(OLD_WORDS[i : i + 4]) for i in range(6)) + "\n", encoding="utf-8")
    return TextSource([str(path)])


@pytest.fixture
def tuned(options: Options) -> Options:
    """A small run that goes on from a small model."""

    def make(**changes: object) -> PretrainOptions:
        return options(**{"start": Start(checkpoint=old_model(), name="old"), **changes})

    return make


def lines_of(source: TextSource) -> list[list[str]]:
    return [line.split() for line in Path(source.patterns[0]).read_text(encoding="utf-8").splitlines()]


def test_both_texts_before_and_after(tuned: Options, heldout: Path, old: TextSource) -> None:
    """Each figure is what the model by itself says of the text."""
    run = tuned(budget=Budget(steps=60))
    changes = tune(run, old)
    assert [change.text for change in changes] == ["new", "old"]
    before, after = old_model(), load_folder(run.out)
    for change, text in zip(changes, (lines_of(TextSource([str(heldout)])), lines_of(old)), strict=True):
        for score, checkpoint in ((change.before, before), (change.after, after)):
            assert score is not None
            expected = perplexity(*load_language_model(checkpoint), text, checkpoint.reader)
            assert asdict(score) == pytest.approx(asdict(expected), rel=1e-6)
    new = changes[0]
    assert new.before is not None
    assert new.after.mean < 0.7 * new.before.mean, "it learns the new domain"
    assert load_folder(run.out).config.languages == run.languages
    noted = json.loads((run.work / "tuning.json").read_text(encoding="utf-8"))
    assert noted == [asdict(change) for change in changes]
    card = load_folder(run.out).card
    assert card is not None
    assert "| tuned from | `old` |" in card
    assert card.count("## Before and after tuning\n") == 1
    assert card.endswith(f"\n\n{table(changes)}\n")


def test_a_finished_command_says_the_same_again(tuned: Options, old: TextSource, capsys: pytest.CaptureFixture[str]) -> None:
    run = tuned()
    changes = tune(run, old)
    said = capsys.readouterr().err
    assert said.count(MEASURED) == 1
    card, weights = (run.out / "README.md").read_text(encoding="utf-8"), (run.out / "model.safetensors").read_bytes()
    assert tune(run, old) == changes
    assert MEASURED not in capsys.readouterr().err
    assert (run.out / "README.md").read_text(encoding="utf-8") == card, "the table stands there once"
    assert (run.out / "model.safetensors").read_bytes() == weights


def test_a_killed_run_goes_on_and_is_measured_once(
    tuned: Options, old: TextSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(RECIPE, head_first=0.5, layer_factor=0.5)
    whole, parts = (tuned(recipe=recipe, out=tmp_path / name) for name in ("whole", "parts"))
    expected = tune(whole, old)
    capsys.readouterr()
    for step in (3, 9):
        with monkeypatch.context() as patch:
            interrupted_at(step, patch)
            with pytest.raises(KeyboardInterrupt):
                tune(parts, old)
        assert not parts.out.exists()
    assert tune(parts, old) == expected
    said = capsys.readouterr().err
    assert said.count(MEASURED) == 1
    assert "going on from step 3," in said
    assert "going on from step 9," in said
    assert same_tensors(load_folder(whole.out), load_folder(parts.out))


def test_begun_anew_it_is_another_run(tuned: Options, old: TextSource, capsys: pytest.CaptureFixture[str]) -> None:
    tune(tuned(), old)
    capsys.readouterr()
    changes = tune(tuned(resume="never"), old)
    assert MEASURED not in capsys.readouterr().err, "the model and the texts are the same"
    again = tune(tuned(resume="never", recipe=replace(RECIPE, learning_rate=0.1)))
    assert [change.text for change in again] == ["new"]
    assert again[0].before == changes[0].before
    assert again[0].after != changes[0].after
    assert MEASURED in capsys.readouterr().err


def test_another_old_text_is_measured(tuned: Options, old: TextSource, tmp_path: Path) -> None:
    first = tune(tuned(), old)
    (tmp_path / "other.txt").write_text("w0 gone älter\n", encoding="utf-8")
    second = tune(tuned(), TextSource([str(tmp_path / "other.txt")]))
    assert second[0] == first[0]
    assert second[1].before != first[1].before
    assert second[1].after.tokens == 4


def test_a_model_without_a_softmax_has_no_before(tuned: Options, old: TextSource) -> None:
    run = tuned(start=Start(checkpoint=old_model(head=False), name="old", words="renew"), budget=Budget(steps=40))
    new, forgotten = tune(run, old)
    assert new.before is None
    assert forgotten.before is None
    assert new.after.mean < 30, "who guesses has 30"
    assert table([new]).splitlines()[2] == "| new | before | – | – | – | – | – |"
    assert tune(run, old) == [new, forgotten]


def test_the_table_of_a_model_that_reads_forward_alone() -> None:
    before, after = Perplexity(12.34, None, 12.34, 9, 0.25, 2.5), Perplexity(5.0, 6.0, 5.48, 9, 0.0)
    assert table([Change("new", before, after)]).splitlines() == [
        "| text | model | forward | backward | mean | unknown words | bits per character |",
        "|---|---|---|---|---|---|---|",
        "| new | before | 12.3 | – | 12.3 | 25.0% | 2.500 |",
        "| new | after | 5.0 | 6.0 | 5.5 | 0.0% | – |",
    ]


class TestTheOldText:
    """What is wrong with it is said before anything is learned."""

    def nothing_learned(self, run: PretrainOptions) -> None:
        assert not run.out.exists()
        assert not (run.work / "log.jsonl").exists()

    @pytest.mark.parametrize("head", [True, False])
    @pytest.mark.parametrize(
        ("content", "said"), [(b"", "--old: no text to measure on in .*old.txt"), (b"w0\n\xff\n", "old.txt, line 2")]
    )
    def test_its_contents(self, tuned: Options, old: TextSource, head: bool, content: bytes, said: str) -> None:
        Path(old.patterns[0]).write_bytes(content)
        run = tuned(start=Start(checkpoint=old_model(head=head), name="old", words="renew"))
        with pytest.raises((ValueError, FormatError), match=said):
            tune(run, old)
        self.nothing_learned(run)

    @pytest.mark.parametrize(
        ("pattern", "said"), [("-", "--old: .* standard input can be read once"), ("nowhere.txt", "nowhere")]
    )
    def test_its_name(self, tuned: Options, pattern: str, said: str) -> None:
        run = tuned()
        with pytest.raises(ValueError, match=said):
            tune(run, TextSource([pattern]))
        self.nothing_learned(run)
        assert not run.work.exists()


def test_the_text_of_another_run_stays(tuned: Options, options: Options, tmp_path: Path) -> None:
    """The folder beside OUT may be that of a pretraining, whose text came from standard input and is nowhere else."""
    pretrain(options(budget=Budget(steps=2)))
    corpus = options().work / "corpus"
    before = {path.name: path.stat().st_mtime_ns for path in corpus.iterdir()}
    (tmp_path / "new.txt").write_text("\n".join(sentences(50, seed=7)), encoding="utf-8")
    with pytest.raises(ValueError, match="model.training holds a run with other settings"):
        tune(tuned(train=TextSource([str(tmp_path / "new.txt")])))
    assert {path.name: path.stat().st_mtime_ns for path in corpus.iterdir()} == before
    assert not (options().work / "before.json").exists()


@pytest.mark.slow
def test_two_processes_tune_and_one_speaks(tmp_path: Path) -> None:
    """The first measures, prints and writes; the weights are those of one process."""
    save_folder(old_model(), tmp_path / "old")
    (tmp_path / "new.txt").write_text("\n".join(sentences(200)), encoding="utf-8")
    (tmp_path / "heldout.txt").write_text("\n".join(sentences(30, seed=1)), encoding="utf-8")
    (tmp_path / "old.txt").write_text("w0 gone älter\n" * 3, encoding="utf-8")
    texts = ["--corpus", "new.txt", "--heldout", "heldout.txt", "--old", "old.txt", "--vocabulary", "extend"]
    small = ["--batch-size", "4", "--window", "6", "--dropout", "0", "--head-first", "0.5", "--layer-factor", "0.5"]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])

    def started(out: str, rank: int, count: int) -> "subprocess.Popen[str]":
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "localhost"}
        environment = os.environ | (place | {"MASTER_PORT": port} if count > 1 else {}) | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "elmokit", "tune", "old", "--out", out, *texts, *small, "--steps", "4"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True)

    processes = [started("both", 0, 2), started("both", 1, 2), started("alone", 0, 1)]
    ended = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    (printed, said), silent, (expected, _) = ended
    assert said.count(MEASURED) == 1
    assert silent == ("", "")
    both, alone = load_folder(tmp_path / "both"), load_folder(tmp_path / "alone")
    assert max(float((both.bilm[name] - alone.bilm[name]).abs().max()) for name in both.bilm) < 2e-6
    assert printed.startswith("both\n\n| text | model |")
    figures = [[float(figure) for figure in re.findall(r"\d+\.\d+", text)] for text in (printed, expected)]
    assert figures[0] == pytest.approx(figures[1], abs=0.11)
    assert (both.card or "").count("## Before and after tuning") == 1
