"""What the planner chooses, and that a run is what its trial said."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pretraining.conftest import RECIPE, TINY

from elmokit.config import BiLMConfig
from elmokit.errors import FormatError
from elmokit.pretraining import planner
from elmokit.pretraining.corpus import Shard
from elmokit.pretraining.forecast import dry_run, duration, forecast, forecast_lines, words
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.planner import ENOUGH, dropout_for, plan, vocabulary_size, worth
from elmokit.pretraining.preparing import read_corpus
from elmokit.pretraining.pretrain import pretrain
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import PRESETS
from elmokit.pretraining.run_note import note_run
from elmokit.pretraining.trial import Trial, try_out
from elmokit.training.budget import Budget

Options = Callable[..., PretrainOptions]
TRIAL = Trial(body=10**6, head=10**5, tokens_per_second=1000.0, checkpoint_seconds=10.0, finish_seconds=60.0, memory=10**9)


@given(tokens=st.floats(1, 1e12), text=st.floats(1, 1e9))
def test_a_text_read_again_is_worth_less_and_less(tokens: float, text: float) -> None:
    found = worth(tokens, text)
    assert min(tokens, text) <= found <= min(tokens, 16 * text) * (1 + 1e-9)
    assert worth(2 * tokens, text) >= found
    assert worth(text, text) == text


def test_four_passes_are_nearly_four_times_the_text() -> None:
    """As the paper says: "up to 4 epochs … negligible changes to loss compared to having unique data"."""
    assert 3.6 < worth(4, 1) < 4
    assert worth(200, 1) == pytest.approx(16, abs=0.01)


def test_a_vocabulary_holds_the_words_that_occur_often(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.repeat([3, 4, 5, 6, 7], [9, 6, 5, 4, 1]).astype(np.int32)
    text = Shard(tokens, np.array([0, len(tokens)]))
    assert vocabulary_size(text) == (6, 20 / 25)
    monkeypatch.setattr(planner, "MOST_WORDS", 4)
    assert vocabulary_size(text) == (4, 9 / 25)
    assert vocabulary_size(Shard(tokens[-1:], np.array([0, 1])))[0] == 4, "one word at least"


def test_more_dropout_the_more_often_the_text_is_read() -> None:
    found = [dropout_for(passes) for passes in (0.1, 1, 3, 10, 100)]
    assert found == sorted(found)
    assert found[0] < found[-1]


@pytest.mark.parametrize(
    ("budget", "tokens"),
    [(Budget(hours=2), 7.2e6), (Budget(tokens=50_000), 5e4), (Budget(steps=100), 100 * 4 * 6), (Budget(epochs=3), None)],
)
def test_a_forecast_for_each_kind_of_budget(options: Options, budget: Budget, tokens: float | None) -> None:
    run = options(budget=budget, checkpoint_minutes=10)
    corpus = read_corpus(run)
    found = forecast(TRIAL, run, corpus)
    assert found.tokens == pytest.approx(tokens or 3 * corpus.train.targets)
    assert found.passes == pytest.approx(found.tokens / corpus.train.targets)
    assert found.training_hours == pytest.approx(found.tokens / 1000 / 3600)
    checkpoints = 1 + found.training_hours * 6
    assert found.hours == pytest.approx(found.training_hours + (10 * checkpoints + 60) / 3600)
    assert found.memory == 10**9 + corpus.train.tokens.nbytes + corpus.train.starts.nbytes
    assert forecast(replace(TRIAL, memory=None), run, corpus).memory is None


def test_every_step_a_checkpoint_is_no_more_than_one_a_step(options: Options) -> None:
    run = options(budget=Budget(steps=100), checkpoint_minutes=0)
    found = forecast(TRIAL, run, read_corpus(run))
    assert found.hours * 3600 == pytest.approx(100 * 24 / 1000 + 101 * 10 + 60)


class TestPlan:
    """The sizes' trials are made up here: by name, words a second for a million parameters a size."""

    @pytest.fixture
    def tried(self, monkeypatch: pytest.MonkeyPatch) -> list[BiLMConfig]:
        """The shapes that were tried; in an hour each size meets so many words for a parameter."""
        shapes: list[BiLMConfig] = []
        self.speeds: Mapping[str, float | None] = {}

        def made_up(options: PretrainOptions) -> Trial | None:
            shapes.append(options.bilm)
            name = next(
                name
                for name, shape in PRESETS.items()
                if shape.cell_dim == options.bilm.cell_dim and shape.output_dim == options.bilm.output_dim
            )
            per_parameter = self.speeds.get(name)
            return None if per_parameter is None else replace(TRIAL, body=100, tokens_per_second=per_parameter * 100 / 3600)

        monkeypatch.setattr(planner, "try_out", made_up)
        return shapes

    def chosen(self, run: PretrainOptions, **left_open: bool) -> tuple[PretrainOptions, str]:
        return plan(run, **{"choose_vocabulary": True, "choose_dropout": True, **left_open})

    def test_the_largest_size_that_meets_enough_text(self, options: Options, tried: list[BiLMConfig]) -> None:
        self.speeds = {"tiny": 4 * ENOUGH, "mini": 1.1 * ENOUGH, "small": 0.9 * ENOUGH, "medium": 0.1}
        run, why = self.chosen(options(bilm=PRESETS["small"], budget=Budget(hours=1)))
        assert run.bilm == PRESETS["mini"]
        assert tried == [PRESETS[name] for name in ("tiny", "mini", "small")], "a larger one would meet less still"
        lines = why.splitlines()
        assert [line.split(":")[0] for line in lines[3:6]] == ["tiny", "mini", "small"]
        assert [line.split()[0] for line in lines[6:]] == ["size", "vocabulary", "dropout"]
        assert "small would meet 3.6" in lines[6]
        assert run.patience == planner.PATIENCE

    def test_the_smallest_where_the_time_is_too_short_for_any(self, options: Options, tried: list[BiLMConfig]) -> None:
        self.speeds = {"tiny": 0.5 * ENOUGH}
        run, _ = self.chosen(options(bilm=PRESETS["small"], budget=Budget(hours=1)))
        assert run.bilm == PRESETS["tiny"]
        assert len(tried) == 1

    def test_memory_ends_the_trials(self, options: Options, tried: list[BiLMConfig]) -> None:
        self.speeds = {"tiny": 9 * ENOUGH, "mini": None}
        run, why = self.chosen(options(bilm=PRESETS["small"], budget=Budget(hours=1)))
        assert run.bilm == PRESETS["tiny"]
        assert "memory is too small for mini" in why
        self.speeds = {}
        with pytest.raises(ValueError, match="memory is too small for any size"):
            self.chosen(options(bilm=PRESETS["small"], budget=Budget(hours=1), resume="never"))

    def test_what_was_given_stays(self, options: Options, tried: list[BiLMConfig]) -> None:
        self.speeds = {"tiny": 2 * ENOUGH, "mini": 1.0}
        shape = replace(TINY, char_cnn=replace(TINY.byte_cnn, max_characters=30), bidirectional=False)
        asked = options(budget=Budget(hours=1), vocabulary_size=17, patience=2, bilm=shape, recipe=replace(RECIPE, dropout=0.33))
        run, why = self.chosen(asked, choose_vocabulary=False, choose_dropout=False)
        assert (run.vocabulary_size, run.recipe.dropout, run.patience) == (17, 0.33, 2)
        assert "vocabulary 17: as asked for" in why
        assert run.bilm == replace(
            PRESETS["tiny"], char_cnn=replace(PRESETS["tiny"].byte_cnn, max_characters=30), bidirectional=False
        )

    def test_another_time_is_planned_anew_until_the_run_has_begun(self, options: Options, tried: list[BiLMConfig]) -> None:
        self.speeds = {"tiny": 1.1 * ENOUGH, "mini": 0.1}
        hour = options(bilm=PRESETS["small"], budget=Budget(hours=1))
        assert self.chosen(hour)[0].bilm == PRESETS["tiny"]
        self.speeds = {"tiny": 4 * ENOUGH, "mini": 1.1 * ENOUGH, "small": 0.1}
        run, why = self.chosen(replace(hour, precision="bfloat16"))
        assert run.bilm == PRESETS["mini"]
        note_run(run)
        tried.clear()
        again = self.chosen(replace(hour, budget=Budget(hours=9)))
        assert (again[0].bilm, again[1], tried) == (run.bilm, why, []), "a run that has begun keeps its plan"

    def test_a_run_keeps_its_plan(self, options: Options, tried: list[BiLMConfig]) -> None:
        """Whatever else runs on the machine when it goes on; other options, or --resume never, are planned anew."""
        self.speeds = {"tiny": 4 * ENOUGH, "mini": 1.1 * ENOUGH, "small": 0.1}
        first = self.chosen(options(bilm=PRESETS["small"], budget=Budget(hours=1)))
        self.speeds = {"tiny": 1.1 * ENOUGH, "mini": 0.1}
        again = self.chosen(options(bilm=PRESETS["small"], budget=Budget(hours=1)))
        assert again[1] == first[1]
        assert [(run.bilm, run.vocabulary_size, run.recipe) for run, _ in (first, again)] == [
            (PRESETS["mini"], first[0].vocabulary_size, first[0].recipe)
        ] * 2
        assert len(tried) == 3
        assert self.chosen(options(bilm=PRESETS["small"], budget=Budget(hours=1), seed=1))[0].bilm == PRESETS["tiny"]
        assert self.chosen(options(bilm=PRESETS["small"], budget=Budget(hours=1), resume="never"))[0].bilm == PRESETS["tiny"]

    def test_a_damaged_plan_and_another_budget_are_named(self, options: Options, tried: list[BiLMConfig]) -> None:
        with pytest.raises(ValueError, match="--preset auto plans for a time: give --hours"):
            self.chosen(options(budget=Budget(steps=5)))
        run = options(bilm=PRESETS["small"], budget=Budget(hours=1))
        run.work.mkdir()
        (run.work / "plan.json").write_text("{}", encoding="utf-8")
        with pytest.raises(FormatError, match=r"plan\.json: the note of an earlier plan is damaged"):
            self.chosen(run)


class TestTrial:
    def test_it_measures_and_leaves_only_the_text(self, options: Options) -> None:
        run = options(budget=Budget(hours=1))
        trial = try_out(run)
        assert trial is not None
        assert sorted(path.name for path in run.work.iterdir()) == ["corpus"]
        assert min(trial.tokens_per_second, trial.checkpoint_seconds, trial.finish_seconds) > 0
        assert trial.memory is None or 5e7 < trial.memory < 2e9

    def test_too_little_memory_is_an_answer(self, options: Options) -> None:
        assert try_out(options(bilm=replace(TINY, cell_dim=2**22, projection_dim=2**22))) is None

    def test_what_the_run_would_refuse_is_refused(self, options: Options) -> None:
        with pytest.raises(ValueError, match="--accumulate"):
            try_out(options(accumulate=3))


def test_a_dry_run_says_what_a_run_takes(options: Options) -> None:
    run = options(budget=Budget(steps=100))
    said = dry_run(run)
    assert "words held out" in said
    assert f"{100 * 4 * 6:,} words in" in said
    assert "GB of memory" in said
    assert not (run.work / "run.json").exists()
    (line,) = forecast_lines([("mini", run, None)], read_corpus(run))
    assert line == "mini: LSTM 2 × 12, projection 8: needs more memory than there is"


@pytest.mark.parametrize(("hours", "said"), [(0.001, "4 s"), (0.5, "30 min"), (26, "26.0 h")])
def test_times_as_people_say_them(hours: float, said: str) -> None:
    assert duration(hours) == said


@pytest.mark.parametrize(("tokens", "said"), [(900, "900 words"), (2.34e6, "2.3 M words")])
def test_words_as_people_say_them(tokens: float, said: str) -> None:
    assert words(tokens) == said


def test_the_plan_is_noted_with_its_forecast(options: Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(planner, "try_out", lambda options: TRIAL)
    run, why = plan(options(budget=Budget(hours=1)), choose_vocabulary=True, choose_dropout=True)
    noted = json.loads((run.work / "plan.json").read_text(encoding="utf-8"))
    assert noted["forecast"]["training_hours"] == 1
    assert noted["why"] == why


def test_the_text_of_a_run_that_has_begun_stays(options: Options, corpus: Path) -> None:
    """It may be nowhere else: it came by standard input."""
    pretrain(options())
    shards = options().work / "corpus" / "corpus.json"
    before = shards.read_bytes()
    other = corpus.with_name("other.txt")
    other.write_text("a b c\n" * 300, encoding="utf-8")
    wrong = options(train=TextSource([str(other)]), budget=Budget(hours=1))
    with pytest.raises(ValueError, match="holds a run with other settings"):
        plan(wrong, choose_vocabulary=True, choose_dropout=True)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        dry_run(replace(wrong, resume="never"))
    assert shards.read_bytes() == before
