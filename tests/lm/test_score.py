"""The probability of each word, in both directions."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.lm.conftest import Golden
from tests.model import equations

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.lm import score as score_module
from elmokit.lm.perplexity import perplexity
from elmokit.lm.score import Score, Scorer
from elmokit.model.char_cnn import CharCnn
from elmokit.text.bytes import encode_words
from elmokit.text.lexicon import Lexicon
from elmokit.text.streams import NOTHING, SentenceStreams
from elmokit.text.vocabulary import BOS, BOS_ID, EOS, EOS_ID

Array = NDArray[np.float64]
TOLERANCE = 1e-5
WORDS = ["The", "cat", "sat", "on", "the", "mat", ".", "unheard-of", "qqq"]
sentences_of_words = st.lists(st.sampled_from(WORDS), max_size=12)


def log_softmax(scores_TV: Array) -> Array:
    scores_TV = scores_TV - scores_TV.max(axis=-1, keepdims=True)
    return np.asarray(scores_TV - np.log(np.exp(scores_TV).sum(axis=-1, keepdims=True)))


def by_equations(golden: Golden, sentence: Sequence[str]) -> tuple[Array, Array]:
    """Log p of every target in float64, word by word and step by step."""
    cnn = golden.model.bilm.words
    assert isinstance(cnn, CharCnn)
    characters = encode_words([BOS, *sentence, EOS], cnn.config.max_characters).astype(int)
    x_TP = np.array([equations.word_vector(cnn, row.tolist()) for row in characters])
    ids = [BOS_ID, *golden.vocabulary.ids(sentence).tolist(), EOS_ID]
    weight_VP, bias_V = equations.array(golden.model.head.weight), equations.array(golden.model.head.bias)
    found = []
    for stack, read_TP, targets in (
        (golden.model.bilm.forward_stack, x_TP[:-1], ids[1:]),
        (golden.model.bilm.backward_stack, x_TP[:0:-1], ids[-2::-1]),
    ):
        log_p_TV = log_softmax(equations.stack(stack, read_TP)[-1] @ weight_VP.T + bias_V)
        found.append(log_p_TV[np.arange(len(targets)), targets])
    return found[0], found[1][::-1]


def scorer_of(golden: Golden, **options: object) -> Scorer:
    return Scorer(golden.model, golden.vocabulary, golden.reader, **options)  # type: ignore[arg-type]  # tests give right ones


def assert_equal(score: Score, other: Score, tolerance: float = TOLERANCE) -> None:
    assert score.tokens == other.tokens
    np.testing.assert_allclose(score.forward, other.forward, rtol=0, atol=tolerance)
    np.testing.assert_allclose(score.backward, other.backward, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(score.unknown, other.unknown)


def test_each_target_by_the_equations(golden: Golden) -> None:
    text = [*golden.text[:3], [], ["unheard-of", "."]]
    for sentence, score in zip(text, scorer_of(golden)(text), strict=True):
        forward, backward = by_equations(golden, sentence)
        assert len(score.forward) == len(score.backward) == len(sentence) + 1
        np.testing.assert_allclose(score.forward, forward, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(score.backward, backward, rtol=0, atol=TOLERANCE)
        assert score.tokens == sentence
        assert score.unknown.tolist() == [word not in golden.vocabulary for word in sentence]


def check_recorded_losses(golden: Golden) -> None:
    """Four streams side by side there; here each by itself, sentence by sentence, the state carried."""
    lexicon = Lexicon(golden.vocabulary, golden.reader)
    rows, window = golden.case.arrays["b0_token_ids"].shape
    windows = list(SentenceStreams(map(lexicon.ids, golden.text), rows, window))
    streams = []
    for row in range(rows):
        ids = np.concatenate([text.forward_BT[row] for text in windows])
        starts = np.flatnonzero(ids == BOS_ID)
        parts = np.split(ids[ids != NOTHING], starts[1:])
        scores = scorer_of(golden, carry_state=True)([[lexicon.words[i] for i in part[1:]] for part in parts])
        forward = np.concatenate([score.forward for score in scores])
        streams.append((forward, np.concatenate([score.backward[::-1] for score in scores])))
    batches = sum(key.endswith("_total_loss") for key in golden.case.arrays)
    assert batches > 2
    for number in range(batches):
        place = slice(number * window, (number + 1) * window)
        losses = [-np.mean([stream[way][place] for stream in streams]) for way in (0, 1)]
        assert losses == pytest.approx(golden.case.arrays[f"b{number}_losses"], abs=TOLERANCE)


def test_a_stream_has_the_losses_that_bilm_tf_recorded(golden: Golden) -> None:
    check_recorded_losses(golden)


def test_a_model_that_looks_words_up_has_the_recorded_losses(word_golden: Golden) -> None:
    check_recorded_losses(word_golden)
    one, other = scorer_of(word_golden)([["The", "unheard-of", "."], ["The", "qqq", "."]])
    np.testing.assert_allclose(one.forward, other.forward, rtol=0, atol=TOLERANCE, err_msg="such words are <UNK> as inputs too")
    check_sum_is_perplexity(word_golden, ["The", "unheard-of", "."])


def check_sum_is_perplexity(golden: Golden, sentence: list[str]) -> None:
    """To the last bits."""
    score = scorer_of(golden)([sentence])[0]
    said = perplexity(golden.model, golden.vocabulary, [sentence], golden.reader)
    targets = len(sentence) + 1
    assert math.exp(-math.fsum(score.forward) / targets) == pytest.approx(said.forward, rel=1e-14)
    assert math.exp(-math.fsum(score.backward) / targets) == pytest.approx(said.backward, rel=1e-14)
    both = math.fsum(score.forward) + math.fsum(score.backward)
    assert math.exp(-both / 2 / targets) == pytest.approx(said.mean, rel=1e-14)
    assert score.unknown.mean() == pytest.approx(said.oov)


def test_one_sentence_sums_to_its_perplexity(golden: Golden) -> None:
    for sentence in (golden.text[0], ["unheard-of"], golden.text[1] * 60):
        check_sum_is_perplexity(golden, sentence)


def test_a_stream_sums_to_its_perplexity(golden: Golden) -> None:
    """Also if it comes in several calls; sentences that are scored by themselves do not."""
    text = golden.text[:20]
    scorer = scorer_of(golden, carry_state=True)
    scores = [*scorer(text[:7]), *scorer(text[7:])]
    said = perplexity(golden.model, golden.vocabulary, text, golden.reader)
    forward = sum(score.forward.sum() for score in scores)
    backward = sum(score.backward.sum() for score in scores)
    assert math.exp(-forward / said.tokens) == pytest.approx(said.forward, rel=1e-6)
    assert math.exp(-backward / said.tokens) == pytest.approx(said.backward, rel=1e-6)
    alone = scorer_of(golden)(text)
    assert sum(score.forward.sum() for score in alone) != pytest.approx(forward, rel=1e-4)


@settings(max_examples=25)
@given(text=st.lists(sentences_of_words, min_size=1, max_size=6), budget=st.sampled_from([1, 7, 8192]))
def test_a_score_depends_on_the_sentence_alone(golden: Golden, text: list[list[str]], budget: int) -> None:
    together = scorer_of(golden, batch_tokens=budget)(text)
    for sentence, score in zip(text, together, strict=True):
        assert_equal(score, scorer_of(golden)([sentence])[0])


@pytest.mark.parametrize("window", [1, 5])
def test_windows_change_no_number(golden: Golden, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    text = [golden.text[0] * 3, golden.text[1], []]
    whole = scorer_of(golden)(text)
    monkeypatch.setattr(score_module, "WINDOW", window)
    for score, other in zip(scorer_of(golden)(text), whole, strict=True):
        assert_equal(score, other)


def test_a_sentence_of_many_words_is_read_in_windows(golden: Golden) -> None:
    """So its length costs no memory; the first words score as in a short sentence."""
    long = golden.text[0] * 80
    score = scorer_of(golden, batch_tokens=64)([long])[0]
    assert len(score.forward) == len(long) + 1
    forward, _ = by_equations(golden, golden.text[0])
    np.testing.assert_allclose(score.forward[: len(forward) - 1], forward[:-1], rtol=0, atol=TOLERANCE)
    assert np.isfinite(score.forward).all()
    assert np.isfinite(score.backward).all()


def test_words_outside_the_vocabulary_are_unknown_as_targets_alone(golden: Golden) -> None:
    """Their spelling is read all the same, so what follows them differs."""
    one, other, literal = (scorer_of(golden)([["The", word, "."]])[0] for word in ("unheard-of", "qqq", "<UNK>"))
    assert one.unknown.tolist() == [False, True, False]
    assert literal.unknown.tolist() == [False, False, False]
    assert one.forward[1] == pytest.approx(other.forward[1], abs=1e-6)
    assert one.forward[1] == pytest.approx(literal.forward[1], abs=1e-6)
    assert one.forward[2] != pytest.approx(other.forward[2], abs=1e-4)


def test_surprisal_and_joint(golden: Golden) -> None:
    score = scorer_of(golden)([golden.text[0]])[0]
    np.testing.assert_array_equal(score.joint, score.forward[:-1] + score.backward[1:])
    nats, bits = score.surprisal(), score.surprisal("bits")
    np.testing.assert_array_equal(nats.forward, -score.forward)
    np.testing.assert_array_equal(nats.backward, -score.backward)
    for part, in_bits in zip(nats, bits, strict=True):
        np.testing.assert_allclose(in_bits, part / math.log(2))
    assert len(nats.joint) == len(score.tokens)
    with pytest.raises(ValueError, match='unit must be "nats" or "bits"'):
        score.surprisal("dits")  # type: ignore[arg-type]  # that is the point


def test_a_budget_below_1_is_an_error(golden: Golden) -> None:
    with pytest.raises(ValueError, match="batch_tokens must be 1 or more"):
        scorer_of(golden, batch_tokens=0)


def test_no_sentence_no_score(golden: Golden) -> None:
    checkpoint: Checkpoint = golden.checkpoint
    assert checkpoint.vocabulary is golden.vocabulary
    assert scorer_of(golden)([]) == []


@pytest.mark.parametrize("carry_state", [False, True])
def test_a_model_that_reads_forward_alone(golden: Golden, forward_golden: Golden, carry_state: bool) -> None:
    text = [*golden.text[:3], []]
    both, alone = (scorer_of(model, carry_state=carry_state)(text) for model in (golden, forward_golden))
    for score, other in zip(alone, both, strict=True):
        np.testing.assert_allclose(score.forward, other.forward, rtol=0, atol=TOLERANCE)
        assert score.backward.shape == score.surprisal("bits").backward.shape == (0,)
        np.testing.assert_array_equal(score.joint, score.forward[:-1])


def test_its_stream_sums_to_its_perplexity(golden: Golden, forward_golden: Golden) -> None:
    text = golden.text[:20]
    said = perplexity(forward_golden.model, forward_golden.vocabulary, text, forward_golden.reader)
    forward = sum(score.forward.sum() for score in scorer_of(forward_golden, carry_state=True)(text))
    assert math.exp(-forward / said.tokens) == pytest.approx(said.forward, rel=1e-6)
    assert said.forward == pytest.approx(perplexity(golden.model, golden.vocabulary, text, golden.reader).forward, rel=1e-6)
    assert (said.backward, said.mean) == (None, said.forward)
