"""What a run takes over from a model that was trained before, and how it goes on from it."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.golden.cases import DATA
from tests.pretraining.conftest import BOTH, OLD_WORDS, RECIPE, TINY, WORDS_ALONE, old_model
from torch import Tensor

from elmokit.checkpoints.checkpoint import TABLE, Checkpoint
from elmokit.checkpoints.load import load_checkpoint
from elmokit.config import BiLMConfig
from elmokit.lm.load import load_language_model
from elmokit.lm.perplexity import Perplexity, perplexity
from elmokit.pretraining import tuning
from elmokit.pretraining.inputs import input_of, tables_of
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import prepare
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.recipes import Recipe
from elmokit.pretraining.tuning import Start, VocabularyChoice
from elmokit.text.tables import WordTable
from elmokit.text.vocabulary import SPECIAL_WORDS, UNK_ID, Vocabulary
from elmokit.training.schedule import SCHEDULES

Options = Callable[..., PretrainOptions]
MODERN = replace(RECIPE, optimizer="modern", schedule="cosine", learning_rate=1e-2, clip_norm=1.0)
FORWARD = replace(TINY, bidirectional=False)
KNOWN = len(SPECIAL_WORDS) + len(OLD_WORDS)


def start(checkpoint: Checkpoint, words: VocabularyChoice = "keep") -> Start:
    return Start(checkpoint=checkpoint, name="old", words=words)


@pytest.fixture
def tuned(options: Options) -> Callable[..., PretrainOptions]:
    """Options of a small run that goes on from a model."""

    def make(checkpoint: Checkpoint, words: VocabularyChoice = "keep", **changes: object) -> PretrainOptions:
        shape = checkpoint.config.bilm
        return options(**{"bilm": shape, "read": input_of(shape), "start": start(checkpoint, words), **changes})

    return make


def steps(trainer: Pretrainer, number: int, of: int) -> list[dict[str, Tensor]]:
    """Train on; what each step changed, by name."""
    changed = []
    for _ in range(number):
        before = copy.deepcopy(trainer.model.state_dict())
        trainer.step(trainer.progress.steps / of)
        after = trainer.model.state_dict()
        changed.append({name: after[name] - before[name] for name in after if not torch.equal(after[name], before[name])})
    return changed


class TestWhatCannotBeTuned:
    """It is said before anything is read."""

    def test_code_points(self) -> None:
        checkpoint = load_checkpoint(DATA / "models/manylangs_word_char")
        for words in ("keep", "renew"):
            with pytest.raises(ValueError, match=r"manylangs_word_char.*: reads code points of its own table"):
                start(checkpoint, words)

    @pytest.mark.parametrize("words", ["keep", "extend"])
    @pytest.mark.parametrize("missing", ["head", "vocabulary"])
    def test_no_softmax_and_its_words_kept(self, words: VocabularyChoice, missing: str) -> None:
        checkpoint = replace(old_model(), **{missing: None})  # type: ignore[arg-type]  # one of two fields
        with pytest.raises(ValueError, match="old: has no softmax, or no words for it: with --vocabulary renew a new one is"):
            start(checkpoint, words)
        assert start(checkpoint, "renew").head_first(0.1) == 0.1
        assert start(old_model(), "renew").head_first(0.1) == 0.0, "much of the softmax is known"

    @pytest.mark.parametrize("words", ["extend", "renew"])
    @pytest.mark.parametrize("bilm", [WORDS_ALONE, BOTH])
    def test_a_table_with_other_words(self, bilm: BiLMConfig, words: VocabularyChoice) -> None:
        with pytest.raises(ValueError, match="old: looks words up in a table of its own: --vocabulary keep is the only choice"):
            start(old_model(bilm), words)

    @pytest.mark.parametrize("words", ["keep", "renew"])
    def test_a_table_without_a_softmax(self, words: VocabularyChoice) -> None:
        """None of the other choices is advised, for none would help."""
        with pytest.raises(ValueError, match="old: looks words up and has no softmax for them: it cannot be tuned"):
            start(replace(old_model(WORDS_ALONE), head=None, vocabulary=None), words)

    def test_a_table_of_another_order(self) -> None:
        checkpoint = old_model(WORDS_ALONE)
        assert checkpoint.vocabulary is not None
        turned = WordTable({word: number for number, word in enumerate(reversed(checkpoint.vocabulary.words))})
        with pytest.raises(ValueError, match="old: its table of words has another order than its vocabulary"):
            start(replace(checkpoint, input_words=turned))

    def test_no_room_for_more_words(self, tuned: Options) -> None:
        with pytest.raises(ValueError, match=f"--vocab-size must be above the {KNOWN} words of the model, .*not {KNOWN}"):
            tuned(old_model(), "extend", vocabulary_size=KNOWN)
        tuned(old_model(), "keep", vocabulary_size=KNOWN)


class TestVocabulary:
    """Kept, extended, or chosen by the text."""

    def words(self, run: PretrainOptions) -> tuple[str, ...]:
        """Those of the model that is trained, by their ids."""
        trainer = prepare(run)
        vocabulary = trainer.corpus.vocabulary(run.vocabulary_size)
        assert len(vocabulary) == trainer.vocabulary_size == len(trainer.model.head.weight)
        return vocabulary.words

    def test_kept(self, tuned: Options) -> None:
        assert self.words(tuned(old_model(), vocabulary_size=5)) == (*SPECIAL_WORDS, *OLD_WORDS)

    def test_extended(self, tuned: Options, options: Options) -> None:
        by_frequency = self.words(options(out=options().out.with_name("plain"), vocabulary_size=1000))
        found = self.words(tuned(old_model(), "extend", vocabulary_size=KNOWN + 4))
        assert found[:KNOWN] == (*SPECIAL_WORDS, *OLD_WORDS), "the rows of the softmax stay where they are"
        assert list(found[KNOWN:]) == [word for word in by_frequency if word not in found[:KNOWN]][:4]

    def test_extended_by_no_more_words_than_there_are(self, tuned: Options, heldout: Path) -> None:
        found = self.words(tuned(old_model(), "extend", vocabulary_size=50_000))
        of_heldout = set(heldout.read_text(encoding="utf-8").split())
        rare = {word for word in of_heldout if word.startswith("rare")} - set(found)
        assert rare, "words of the held-out text are not learned"
        assert len(found) == len(set(found))

    def test_renewed(self, tuned: Options, options: Options) -> None:
        plain = self.words(options(out=options().out.with_name("plain"), vocabulary_size=12))
        assert self.words(tuned(old_model(), "renew", vocabulary_size=12)) == plain


class TestWeights:
    """What is known is taken over to the bit."""

    @pytest.mark.parametrize("bilm", [TINY, FORWARD], ids=["both directions", "forward"])
    @pytest.mark.parametrize("words", ["keep", "extend", "renew"])
    def test_rows_go_with_their_words(
        self, tuned: Options, words: VocabularyChoice, bilm: BiLMConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tuning, "RARE_WORDS", 2)
        checkpoint = old_model(bilm)
        assert checkpoint.head is not None
        assert checkpoint.vocabulary is not None
        trainer = prepare(tuned(checkpoint, words, vocabulary_size=20))
        head = trainer.model.head.state_dict()
        old, found = checkpoint.vocabulary.words, trainer.corpus.vocabulary(20).words
        for name in ("weight", "bias"):
            rarest = checkpoint.head[name][-2:].mean(0)
            for row, word in zip(head[name], found, strict=True):
                expected = checkpoint.head[name][old.index(word)] if word in old else rarest
                assert torch.equal(row, expected), word
        assert {"w3", "w7"} < set(found)
        assert (words == "keep") == (set(found) <= set(old))
        body = trainer.model.bilm.state_dict()
        assert body.keys() == checkpoint.bilm.keys()
        assert all(torch.equal(body[name], checkpoint.bilm[name]) for name in body)

    def test_without_a_softmax_a_new_one_is_drawn(self, tuned: Options, options: Options) -> None:
        checkpoint = old_model(head=False)
        trainer = prepare(tuned(checkpoint, "renew"))
        assert all(torch.equal(tensor, checkpoint.bilm[name]) for name, tensor in trainer.model.bilm.state_dict().items())
        drawn = prepare(options(out=options().out.with_name("plain"))).model.head.weight
        assert torch.equal(trainer.model.head.weight, drawn), "as for a model that is pretrained"

    @pytest.mark.parametrize("tied", [True, False])
    def test_the_table_of_words_is_the_softmaxs_only_if_it_was(self, tuned: Options, tied: bool) -> None:
        """bilm-tf has models of both kinds, and their tables have the same shape."""
        checkpoint = old_model(WORDS_ALONE, tied=tied)
        assert checkpoint.head is not None
        trainer = prepare(tuned(checkpoint))
        state = trainer.model.state_dict()
        assert torch.equal(state[f"bilm.{TABLE}"], checkpoint.bilm[TABLE])
        assert torch.equal(state["head.weight"], checkpoint.head["weight"])
        table = trainer.model.get_parameter(f"bilm.{TABLE}")
        assert (table is trainer.model.head.weight) == tied
        changed = steps(trainer, 1, of=4)[0]
        assert {f"bilm.{TABLE}", "head.weight"} <= changed.keys()

    def test_the_model_that_was_given_is_left_alone(self, tuned: Options) -> None:
        checkpoint = old_model()
        before = {name: tensor.clone() for name, tensor in {**checkpoint.bilm, **(checkpoint.head or {})}.items()}
        steps(prepare(tuned(checkpoint)), 2, of=4)
        assert all(torch.equal(tensor, before[name]) for name, tensor in {**checkpoint.bilm, **(checkpoint.head or {})}.items())


def numbers(score: Perplexity) -> dict[str, float]:
    """All that were measured."""
    return {name: number for name, number in vars(score).items() if number is not None}


KINDS = [(TINY, False), (FORWARD, False), (WORDS_ALONE, True), (WORDS_ALONE, False), (BOTH, False)]
"""Shapes, and whether the softmax is the table of words."""


@pytest.mark.parametrize(("bilm", "tied"), KINDS)
def test_before_any_step_it_is_the_model_that_it_was(tuned: Options, heldout: Path, bilm: BiLMConfig, tied: bool) -> None:
    """The corpus, read by the model's ids, gives the perplexity of the text, read by the model."""
    checkpoint = old_model(bilm, tied=tied)
    text = [line.split() for line in heldout.read_text(encoding="utf-8").splitlines()]
    expected = perplexity(*load_language_model(checkpoint), text, checkpoint.reader)
    trainer = prepare(tuned(checkpoint))
    vocabulary = trainer.corpus.vocabulary(1000)
    found = perplexity(trainer.model.eval(), vocabulary, trainer.corpus.heldout_words(), checkpoint.reader)
    assert numbers(found) == pytest.approx(numbers(expected), rel=1e-6)
    assert 0.3 < found.oov < 1
    monitored = trainer.evaluate()["heldout_mean"]
    assert monitored == pytest.approx(expected.mean, rel=0.1), "in parallel streams, by the ids of the corpus"


HELD = 0.5
"""Share of the budget in which the body is held."""


class TestHeadFirst:
    """The softmax learns alone at first."""

    @pytest.mark.parametrize("recipe", [RECIPE, MODERN], ids=["reference", "modern"])
    @pytest.mark.parametrize(("bilm", "tied"), [(TINY, False), (WORDS_ALONE, True), (BOTH, False)])
    def test_the_body_is_held_and_let_go(self, tuned: Options, recipe: Recipe, bilm: BiLMConfig, tied: bool) -> None:
        run = tuned(old_model(bilm, tied=tied), recipe=replace(recipe, head_first=HELD))
        trainer = prepare(run)
        changed = steps(trainer, 8, of=8)
        shared = {f"bilm.{TABLE}"} if tied else set()  # it is the softmax
        assert [set(names) for names in changed[:4]] == [{"head.weight", "head.bias", *shared}] * 4
        every = set(trainer.model.state_dict())
        assert set().union(*changed[4:]) == every
        assert len(changed[4]) > 0.8 * len(every)

    @pytest.mark.parametrize("recipe", [RECIPE, MODERN], ids=["reference", "modern"])
    @pytest.mark.parametrize("saved", [2, 4, 6])
    def test_it_goes_on_exactly(self, tuned: Options, recipe: Recipe, saved: int, options: Options) -> None:
        """Saved while the body is held, when it is let go, and after."""
        recipe = replace(recipe, head_first=HELD, layer_factor=0.5)
        whole, parts = (tuned(old_model(), recipe=recipe, out=options().out.with_name(name)) for name in ("whole", "parts"))
        trainer = prepare(whole)
        steps(trainer, 8, of=8)
        first = prepare(parts)
        steps(first, saved, of=8)
        first.save()
        second = prepare(parts)
        assert second.progress.steps == saved
        steps(second, 8 - saved, of=8)
        for name, tensor in trainer.model.state_dict().items():
            assert torch.equal(tensor, second.model.state_dict()[name]), name
        assert second.consumed == trainer.consumed


class TestLayerFactor:
    """Each layer learns by a share of the rate of the layer above it."""

    @pytest.mark.parametrize("recipe", [RECIPE, MODERN], ids=["reference", "modern"])
    @pytest.mark.parametrize(("bilm", "tied"), KINDS)
    def test_rates(self, tuned: Options, recipe: Recipe, bilm: BiLMConfig, tied: bool) -> None:
        trainer = prepare(tuned(old_model(bilm, tied=tied), recipe=replace(recipe, layer_factor=0.5)))
        trainer.step(0.25)
        factor = SCHEDULES[recipe.schedule](0.25, 0)
        rates = {
            id(parameter): group["lr"] / factor
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        assert bilm.layers == 2
        tables = [trainer.model.head.weight, *(table.weight for table in tables_of(trainer.model.bilm))]
        for name, parameter in trainer.model.named_parameters():
            share = 0.25 if name.startswith("bilm.words") else 0.5 if ".layers.0." in name else 1.0
            if parameter is trainer.model.head.weight:  # be it the table of words too
                share = 1.0
            of_rows = 25 if recipe is MODERN and any(parameter is table for table in tables) else 1
            assert rates[id(parameter)] == pytest.approx(share * of_rows * recipe.learning_rate), name

    @pytest.mark.parametrize("recipe", [RECIPE, MODERN], ids=["reference", "modern"])
    def test_less_is_changed_below(self, tuned: Options, recipe: Recipe, options: Options) -> None:
        """The first step of Adam is as long as its rate, whatever the gradient."""
        moved: dict[float, dict[str, Tensor]] = {}
        for factor in (1.0, 0.1):
            run = tuned(
                old_model(), recipe=replace(recipe, layer_factor=factor, dropout=0.0), out=options().out.with_name(str(factor))
            )
            moved[factor] = steps(prepare(run), 1, of=8)[0]
        for name, change in moved[1.0].items():
            share = 0.01 if name.startswith("bilm.words") else 0.1 if ".layers.0." in name else 1.0
            torch.testing.assert_close(moved[0.1][name], share * change, rtol=0.02, atol=1e-6)

    @pytest.mark.parametrize("recipe", [RECIPE, MODERN], ids=["reference", "modern"])
    def test_without_it_there_is_one_group(self, options: Options, recipe: Recipe) -> None:
        """So that checkpoints of earlier versions go on."""
        trainer = prepare(options(recipe=recipe))
        parameters = [group["params"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        expected: list[Any] = [list(trainer.model.parameters())]
        if recipe is MODERN:
            expected = [[p for p in expected[0] if p is not trainer.model.head.weight], [trainer.model.head.weight]]
        assert [list(map(id, group)) for group in parameters] == [list(map(id, group)) for group in expected]


class TestTheSameRun:
    """A run goes on from the model that it began with, and no other."""

    def begun(self, run: PretrainOptions) -> None:
        trainer = prepare(run)
        trainer.step(0.0)
        trainer.save()

    def test_wherever_the_model_is_read_from(self, tuned: Options) -> None:
        self.begun(tuned(old_model()))
        elsewhere = replace(old_model(), origin="elsewhere")
        assert prepare(tuned(elsewhere)).progress.steps == 1

    def test_another_model_is_another_run(self, tuned: Options) -> None:
        self.begun(tuned(old_model()))
        other = old_model()
        assert other.head is not None
        other.head["bias"][UNK_ID] += 1
        with pytest.raises(ValueError, match=r"holds a run with other settings \(start.model was [0-9a-f]+, is"):
            prepare(tuned(other))
        renamed = replace(old_model(), vocabulary=Vocabulary((*SPECIAL_WORDS, "other", *OLD_WORDS[1:])))
        with pytest.raises(ValueError, match="start.model was"):
            prepare(tuned(renamed))

    def test_another_choice_of_words_is_another_run(self, tuned: Options) -> None:
        self.begun(tuned(old_model()))
        with pytest.raises(ValueError, match=r"\(start.vocabulary was keep, is renew\)"):
            prepare(tuned(old_model(), "renew"))

    def test_pretraining_is_another_run(self, tuned: Options, options: Options) -> None:
        self.begun(options())
        with pytest.raises(ValueError, match=r"holds a run with other settings \(start\)"):
            prepare(tuned(old_model()))


def test_no_number_of_characters_is_advised(tuned: Options, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model has the places that it has."""
    with corpus.open("a", encoding="utf-8") as file:
        file.write("a-word-of-more-than-ten-bytes\n" * 100)
    prepare(tuned(old_model()))
    said = capsys.readouterr().err
    assert "of the words are cut at 10 bytes\n" in said
