"""From text files to a model folder."""

import json
import math
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.pretraining.conftest import RECIPE, TINY, sentences

from elmokit.checkpoints.checkpoint import Checkpoint, build_bilm
from elmokit.checkpoints.folder import load_folder
from elmokit.config import BiLMConfig, TextConfig
from elmokit.errors import FormatError
from elmokit.lm.language_model import LmBatch
from elmokit.lm.load import load_language_model
from elmokit.lm.perplexity import perplexity
from elmokit.model.bilm import BiLMState
from elmokit.pretraining.inputs import Input
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import prepare
from elmokit.pretraining.pretrain import pretrain
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import RECIPES, Recipe, RecipeName
from elmokit.text.batch import word_batch
from elmokit.text.readers import word_reader
from elmokit.text.vocabulary import BOS_ID
from elmokit.training.budget import Budget

Options = Callable[..., PretrainOptions]
MODERN = replace(RECIPE, optimizer="modern", schedule="cosine", learning_rate=2e-2, clip_norm=1.0, fresh_sentences=True)


def log_of(options: PretrainOptions) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (options.work / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def lines_of(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "learning_rate", "negatives"), [("reference", 0.5, 6), ("reference", 0.5, None), ("modern", 0.1, 6)]
)
def test_it_learns(options: Options, tmp_path: Path, name: RecipeName, learning_rate: float, negatives: int | None) -> None:
    """Who knows just the words' frequencies has a perplexity of nine; who knows their order, less than five."""
    cycle = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    lines = [" ".join((cycle * 3)[number % 8 : number % 8 + 4 + number % 7]) for number in range(60)]
    (tmp_path / "cycle.txt").write_text("\n".join(lines), encoding="utf-8")
    text = TextSource([str(tmp_path / "cycle.txt")])
    recipe = replace(RECIPE, optimizer=name, learning_rate=learning_rate, negatives=negatives, batch_size=8, dropout=0.0)
    bilm = replace(TINY, layers=1, cell_dim=16)
    run = options(train=text, heldout=text, bilm=bilm, recipe=recipe, budget=Budget(steps=120))
    score = pretrain(run)
    assert score.mean < 5
    log = [record for record in log_of(run) if "loss" in record]
    assert [record["steps"] for record in log] == [50, 100, 120]
    assert log[0]["loss"] > log[1]["loss"] > log[2]["loss"]
    assert all(record["tokens_per_second"] > 0 for record in log)


def test_the_folder_holds_the_model_that_was_measured(
    options: Options, heldout: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = options()
    score = pretrain(run)
    checkpoint = load_folder(run.out)
    model, vocabulary = load_language_model(checkpoint)
    assert vars(perplexity(model, vocabulary, lines_of(heldout))) == pytest.approx(vars(score), rel=1e-6)
    assert score.tokens == sum(len(line) + 1 for line in lines_of(heldout))
    assert checkpoint.config.bilm == TINY
    assert checkpoint.config.text == run.text
    assert checkpoint.card is not None
    assert f"mean {score.mean:.1f}" in checkpoint.card

    counts = Counter(word for line in lines_of(corpus) for word in line)
    assert len(vocabulary) == 30
    assert list(vocabulary.words[3:]) == sorted(counts, key=lambda word: -counts[word])[:27], (
        "of equally frequent words those met first"
    )

    assert capsys.readouterr().out == "", "standard output is for results"
    log = log_of(run)
    assert log[0]["steps"] == 12
    assert {"tokens", "passes", "loss", "gradient_norm", "tokens_per_second"} <= log[0].keys()
    assert {"heldout_forward", "heldout_backward", "heldout_mean"} <= log[1].keys()
    assert log[2]["final"] == vars(score)


def test_bfloat16_trains_too_and_is_measured_in_float32(options: Options, heldout: Path) -> None:
    run = options(precision="bfloat16")
    score = pretrain(run)
    model, vocabulary = load_language_model(load_folder(run.out))
    assert perplexity(model, vocabulary, lines_of(heldout)).mean == pytest.approx(score.mean, rel=1e-6)


def test_layer_means_are_those_of_the_heldout_words_alone(options: Options, heldout: Path) -> None:
    run = options()
    pretrain(run)
    checkpoint = load_folder(run.out)
    bilm = build_bilm(checkpoint)
    vectors = []
    for sentence in lines_of(heldout):
        with torch.no_grad():
            layers_LBTD, _ = bilm(word_batch([sentence], word_reader(TINY)))
        vectors.append(layers_LBTD[:, 0, 1:-1])
    assert checkpoint.layer_means_LD is not None
    torch.testing.assert_close(checkpoint.layer_means_LD, torch.cat(vectors, 1).mean(1), rtol=1e-4, atol=1e-5)


def test_a_small_text_gives_a_small_vocabulary(options: Options, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("a b c\n" * 40, encoding="utf-8")
    run = options(train=TextSource([str(tmp_path / "few.txt")]), vocabulary_size=50_000)
    pretrain(run)
    vocabulary = load_folder(run.out).vocabulary
    assert vocabulary is not None
    assert vocabulary.words == ("<S>", "</S>", "<UNK>", "a", "b", "c"), "words of the held-out text are not learned"


def test_bad_lines_and_empty_files_are_left_out_and_told(
    options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "empty.txt").write_bytes(b"")
    (folder / "bad.txt").write_bytes(b"\xff\xfe\n\x00\xc3\n")
    (folder / "good.txt").write_bytes(b"a b c\n" * 10 + b"\xe9\n")
    run = options(train=TextSource([str(folder / "*.txt")]))
    pretrain(run)
    assert "13 lines: 3 undecodable lines, 2 empty files, 9 repeated lines (estimated)" in capsys.readouterr().err


def test_running_text_with_another_tokenizer(options: Options, tmp_path: Path) -> None:
    (tmp_path / "running.txt").write_text("Don't go! It is late.\n" * 30, encoding="utf-8")
    run = options(train=TextSource([str(tmp_path / "running.txt")], "running"), text=TextConfig(tokenizer="words"))
    trainer = prepare(run)
    assert len(trainer.corpus.train) == 60
    assert {"Do", "n't", "go", "!"} <= set(trainer.corpus.words.first(1000))


FORWARD = replace(TINY, bidirectional=False)


class TestForwardAlone:
    """A model without a backward direction, of all kinds of input and with both kinds of softmax."""

    @pytest.mark.parametrize(
        ("read", "recipe"),
        [("characters", RECIPE), ("characters", replace(RECIPE, negatives=None)), ("words", MODERN), ("both", MODERN)],
        ids=["sampled", "full softmax", "words", "both"],
    )
    def test_it_is_trained_and_measured(self, options: Options, heldout: Path, read: Input, recipe: Recipe) -> None:
        run = options(bilm=FORWARD, read=read, recipe=recipe, budget=Budget(steps=60), precision="bfloat16")
        score = pretrain(run)
        assert (score.backward, score.mean) == (None, score.forward)
        assert score.forward < 25, "who guesses has a perplexity of 30"
        checkpoint = load_folder(run.out)
        assert not any(name.startswith("backward") for name in checkpoint.bilm)
        model, vocabulary = load_language_model(checkpoint)
        again = perplexity(model, vocabulary, lines_of(heldout), checkpoint.reader)
        assert again.forward == pytest.approx(score.forward, rel=1e-6)
        assert checkpoint.card is not None
        assert f"forward {score.forward:.1f} (there is no backward direction)" in checkpoint.card
        assert checkpoint.layer_means_LD is not None
        assert checkpoint.layer_means_LD.shape == (3, TINY.output_dim)
        log = log_of(run)
        assert log[-1]["final"] == vars(score)
        assert [key for key in log[-2] if key.startswith("heldout")] == ["heldout_forward", "heldout_mean"]

    def test_its_step_is_the_forward_half_of_a_step(self, options: Options) -> None:
        """From the same weights on the same text: the same forward loss, without the other direction's work."""
        still = replace(RECIPE, dropout=0.0)
        both, alone = (prepare(options(bilm=bilm, recipe=still, out=options().out / name)) for name, bilm in SHAPES.items())
        alone.model.load_state_dict(both.model.state_dict(), strict=False)
        candidates = both.candidates()
        assert candidates is not None
        (drawn,) = alone.candidates() or ()
        assert torch.equal(drawn.ids_S, candidates[0].ids_S)
        batch = both.batch(next(both.streams))
        expected = both.model.eval()(batch, None, candidates)[0].forward_N.mean().item()
        assert alone.step(0.0)["loss"] == pytest.approx(expected, rel=1e-6)
        words_read = alone.batch(next(alone.streams)).chars_UW
        assert len(words_read) <= len(batch.chars_UW)

    def test_another_direction_is_another_run(self, options: Options) -> None:
        for before, now in ((FORWARD, TINY), (TINY, FORWARD)):
            pretrain(options(bilm=before, budget=Budget(steps=2), resume="never"))
            with pytest.raises(ValueError, match=f"bilm.bidirectional was {before.bidirectional}, is {now.bidirectional}"):
                prepare(options(bilm=now))


SHAPES = {"both": TINY, "forward": FORWARD}


class TestWrongOptions:
    """They are refused before anything is read or written."""

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"vocabulary_size": 2}, "--vocab-size must be above 3 .*, not 2"),
            ({"seed": -1}, "--seed must be 0 or more, not -1"),
            ({"checkpoint_minutes": -0.5}, "--checkpoint-minutes must be 0 or more, not -0.5"),
        ],
    )
    def test_values(self, options: Options, changes: dict[str, object], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            options(**changes)

    def test_a_folder_that_holds_something_else(self, options: Options, tmp_path: Path) -> None:
        run = options()
        run.out.mkdir()
        (run.out / "thesis.txt").write_text("years of work", encoding="utf-8")
        with pytest.raises(ValueError, match="thesis.txt"):
            pretrain(run)
        assert not run.work.exists()


def interrupted_at(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGTERM) -> None:
    """Send a signal to this process in the middle of a step."""
    original = Pretrainer.step

    def interrupted(self: Pretrainer, used: float) -> dict[str, float]:
        if self.progress.steps == step - 1:
            os.kill(os.getpid(), number)
        return original(self, used)

    monkeypatch.setattr(Pretrainer, "step", interrupted)


def same_tensors(first: Checkpoint, second: Checkpoint) -> bool:
    pairs = [(first.bilm, second.bilm), (first.head or {}, second.head or {})]
    return all(torch.equal(one[name], two[name]) for one, two in pairs for name in one) and len(pairs[1][0]) == 2


class TestResume:
    """A run that was interrupted ends with the very same numbers."""

    @pytest.mark.parametrize(
        ("recipe", "bilm"),
        [
            (RECIPE, TINY),
            (replace(RECIPE, negatives=None), TINY),
            (MODERN, TINY),
            (replace(MODERN, dropout=0.5), TINY),
            (RECIPE, FORWARD),
        ],
        ids=["reference", "full softmax", "modern", "much dropout", "forward alone"],
    )
    def test_it_goes_on_exactly(
        self, options: Options, recipe: Recipe, bilm: BiLMConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        few = tmp_path / "few.txt"
        few.write_text("\n".join(sentences(40)) + "\n", encoding="utf-8")
        changes = {"train": TextSource([str(few)]), "recipe": recipe, "bilm": bilm, "budget": Budget(steps=24)}
        whole, parts = (options(**changes, out=tmp_path / name) for name in ("whole", "parts"))
        pretrain(whole)
        for step in (1, 9, 20):  # in the first pass and in later ones
            with monkeypatch.context() as patch:
                interrupted_at(step, patch)
                with pytest.raises(KeyboardInterrupt):
                    pretrain(parts)
            assert not parts.out.exists()
        pretrain(parts)
        assert log_of(whole)[-3]["passes"] > 2
        assert same_tensors(load_folder(whole.out), load_folder(parts.out))
        assert log_of(parts)[-1]["final"] == log_of(whole)[-1]["final"]

    def test_a_finished_run_is_not_noted_again(self, options: Options) -> None:
        score = pretrain(options(budget=Budget(steps=5)))
        noted = log_of(options())
        assert pretrain(options(budget=Budget(steps=5))) == score
        assert log_of(options()) == noted
        shutil.rmtree(options().out)  # as after a stop in the last measurement
        pretrain(options(budget=Budget(steps=5)))
        assert [("final" in record) for record in log_of(options())[len(noted) :]] == [True]
        assert options().out.is_dir()

    def test_a_larger_budget_goes_on_from_the_end(self, options: Options, capsys: pytest.CaptureFixture[str]) -> None:
        pretrain(options(budget=Budget(steps=5)))
        pretrain(options(budget=Budget(tokens=200)))
        assert "going on from step 5, 120 tokens" in capsys.readouterr().err
        assert [r["steps"] for r in log_of(options()) if "loss" in r] == [5, 9]

    def test_never_begins_anew(self, options: Options) -> None:
        pretrain(options(budget=Budget(steps=5)))
        trainer = prepare(options(resume="never", seed=1))
        assert trainer.progress.steps == 0
        assert trainer.checkpoints.newest() is None, "an interruption before the first checkpoint must not bring the old run back"
        assert prepare(options(seed=1)).progress.steps == 0

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"seed": 7}, "seed was 0, is 7"),
            ({"recipe": replace(RECIPE, batch_size=5)}, "recipe.batch_size was 4, is 5"),
            ({"bilm": replace(TINY, cell_dim=16)}, "bilm.cell_dim was 12, is 16"),
            ({"vocabulary_size": 25}, "vocabulary_size was 30, is 25"),
            ({"shuffle": False}, "shuffle was True, is False"),
            ({"text": TextConfig(tokenizer="words")}, "text.tokenizer was whitespace, is words"),
            ({"heldout": None}, "heldout"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_other_settings_are_one_error(self, options: Options, changes: dict[str, object], said: str) -> None:
        pretrain(options(budget=Budget(steps=2)))
        words = (options().work / "corpus" / "words.txt").stat().st_mtime_ns
        with pytest.raises(ValueError, match=r"model.training holds a run with other settings \(.*--resume never") as caught:
            prepare(options(**changes))
        assert f"({said})" in str(caught.value)
        assert (options().work / "corpus" / "words.txt").stat().st_mtime_ns == words, "the shards of the run are still there"

    def test_a_text_that_changed_is_another_run(self, options: Options, corpus: Path) -> None:
        pretrain(options(budget=Budget(steps=2)))
        with corpus.open("a", encoding="utf-8") as file:
            file.write("one more line\n")
        with pytest.raises(ValueError, match=r"other settings \(train.files"):
            prepare(options())

    def test_another_budget_precision_or_checkpoint_time_is_the_same_run(self, options: Options) -> None:
        pretrain(options(budget=Budget(steps=2)))
        assert prepare(options(budget=Budget(hours=1), precision="bfloat16", checkpoint_minutes=1)).progress.steps == 2

    def test_of_damaged_checkpoints_the_last_whole_one_is_taken(
        self, options: Options, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pretrain(options(budget=Budget(steps=3), checkpoint_minutes=0))
        newest = sorted((options().work / "checkpoints").glob("*.safetensors"))[-1]
        newest.write_bytes(newest.read_bytes()[:-20])
        assert prepare(options()).progress.steps == 2
        said = capsys.readouterr().err
        assert "passed over a checkpoint that is not whole" in said
        assert newest.name in said

    def test_without_a_whole_checkpoint_nothing_is_begun_anew(self, options: Options) -> None:
        pretrain(options(budget=Budget(steps=2)))
        for path in (options().work / "checkpoints").glob("*.safetensors"):
            path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(FormatError, match=r"none of its checkpoints is whole; --resume never"):
            prepare(options())

    def test_a_checkpoint_of_another_model_is_named(self, options: Options) -> None:
        """As when files were copied by hand."""
        pretrain(options(budget=Budget(steps=2)))
        other = options(out=options().out.with_name("other"), bilm=replace(TINY, cell_dim=16), budget=Budget(steps=2))
        pretrain(other)
        shutil.copytree(other.work / "checkpoints", options().work / "checkpoints", dirs_exist_ok=True)
        with pytest.raises(FormatError, match=r"safetensors: is no state of this model"):
            prepare(options())

    @pytest.mark.parametrize("content", ["", "[1]", "3"])
    def test_a_damaged_note_of_the_run_is_named(self, options: Options, content: str) -> None:
        pretrain(options(budget=Budget(steps=2)))
        (options().work / "run.json").write_text(content, encoding="utf-8")
        with pytest.raises(FormatError, match=r"run.json: the note of the earlier run cannot be read"):
            prepare(options())


def test_a_loss_that_is_no_number_stops_the_run_before_it_spoils_the_weights(options: Options) -> None:
    trainer = prepare(options())
    with torch.no_grad():
        trainer.model.head.bias[3] = math.nan
    before = trainer.model.head.weight.detach().clone()
    with pytest.raises(ValueError, match=r"step 0: the loss or its gradient is not finite .* --learning-rate"):
        trainer.step(0.0)
    assert torch.equal(trainer.model.head.weight, before)


def test_steps_count_targets_of_one_direction(options: Options) -> None:
    trainer = prepare(options())
    trainer.step(0.0)
    trainer.step(0.0)
    assert trainer.progress.steps == 2
    assert trainer.progress.tokens == 2 * RECIPE.batch_size * RECIPE.window
    assert 0 < trainer.progress.passes < 0.2


def test_the_state_is_carried_from_window_to_window_but_no_gradient(options: Options) -> None:
    trainer = prepare(options())
    trainer.step(0.0)
    (state,) = trainer.lstm_states
    assert state is not None
    tensors = [tensor for stack in state for layer in stack for tensor in layer]
    assert all(tensor.abs().sum() > 0 and not tensor.requires_grad for tensor in tensors)
    assert len({id(row) for row in trainer.streams.unread}) == RECIPE.batch_size


def test_fresh_sentences_begin_without_a_state(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a window begins with a sentence, nothing of the one before is known; all other rows go on."""
    trainer = prepare(options(recipe=replace(RECIPE, fresh_sentences=True), accumulate=2))
    given: list[BiLMState | None] = []
    began: list[list[bool]] = []
    forward = Pretrainer.forward

    def watched(self: Pretrainer, batch: LmBatch, state: BiLMState | None, candidates: Any) -> Any:
        given.append(state)
        marks_B = batch.chars_UW[batch.forward_BT[:, 0]] == torch.from_numpy(self.word_rows(np.array([BOS_ID])))
        began.append(marks_B.all(1).tolist())
        return forward(self, batch, state, candidates)

    monkeypatch.setattr(Pretrainer, "forward", watched)
    for step in range(12):
        trainer.step(step / 12)
    assert given[:2] == [None, None]
    assert {True, False} == {row for rows in began[2:] for row in rows}
    for state, rows in zip(given[2:], began[2:], strict=True):
        assert state is not None
        for part in (part for stack in state for layer in stack for part in layer):
            assert [not row.any() for row in part] == rows


def test_the_presets_dropout_reaches_every_place(options: Options) -> None:
    model = prepare(options()).model
    assert model.dropout.p == model.bilm.forward_stack.dropout.p == model.bilm.backward_stack.dropout.p == 0.1


def test_the_recipes_negatives(options: Options) -> None:
    assert prepare(options(recipe=replace(RECIPE, negatives=None))).candidates() is None
    trainer = prepare(options(resume="never", recipe=replace(RECIPE, negatives=RECIPES["reference"].negatives)))
    assert trainer.candidates() is None, "as many as there are words: the full softmax"
    trainer = prepare(options(resume="never"))
    candidates = trainer.candidates()
    assert candidates is not None
    assert [len(ids_S) for ids_S, _ in candidates] == [12, 12]


class TestPatience:
    """Early stopping: a text so small that it is soon learned by heart."""

    @pytest.fixture
    def by_heart(self, options: Options, tmp_path: Path) -> PretrainOptions:
        (tmp_path / "few.txt").write_text("\n".join(sentences(12, seed=5)), encoding="utf-8")
        recipe = replace(MODERN, dropout=0.0, negatives=None, learning_rate=5e-2)
        return options(
            train=TextSource([str(tmp_path / "few.txt")]),
            recipe=recipe,
            budget=Budget(steps=400),
            checkpoint_minutes=0,
            patience=5,
            tensorboard=True,
        )

    def test_the_model_is_the_best_checkpoint_and_the_run_is_done(
        self, by_heart: PretrainOptions, capsys: pytest.CaptureFixture[str]
    ) -> None:
        score = pretrain(by_heart)
        measured = [(record["steps"], record["heldout_mean"]) for record in log_of(by_heart) if "heldout_mean" in record]
        best, _ = min(measured, key=lambda pair: pair[1])
        assert measured[-1][0] == best + 5 < 400
        assert f"the model is that of step {best}, the best on the held-out text" in capsys.readouterr().err
        assert score.mean == pytest.approx(min(loss for _, loss in measured), rel=0.2), "the text in one stream, not in sixteen"
        assert f", {best:,} steps, " in (by_heart.out / "README.md").read_text(encoding="utf-8"), "what the model has seen"
        assert list((by_heart.work / "tensorboard").iterdir())
        assert (by_heart.work / "loss.png").exists()
        before = (by_heart.work / "log.jsonl").read_bytes()
        assert pretrain(by_heart).mean == pytest.approx(score.mean)
        assert (by_heart.work / "log.jsonl").read_bytes() == before, "nothing was trained any more"

    def test_without_patience_the_end_is_the_model_and_the_better_one_is_named(
        self, by_heart: PretrainOptions, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pretrain(replace(by_heart, patience=None, budget=Budget(steps=40), tensorboard=False))
        assert "was better on the held-out text than the end: --patience would have taken it" in capsys.readouterr().err


@pytest.mark.parametrize("read", ["characters", "both"])
def test_character_noise_is_for_training_alone(options: Options, read: str) -> None:
    clean, noisy = (
        prepare(options(read=read, resume="never", recipe=replace(RECIPE, dropout=0.0, character_noise=share)))
        for share in (0.0, 0.5)
    )
    assert clean.evaluate() == noisy.evaluate()
    assert clean.step(0.0)["loss"] != noisy.step(0.0)["loss"]
    with pytest.raises(ValueError, match=r"--character-noise .* --input words"):
        options(read="words", recipe=replace(RECIPE, character_noise=0.1))
