"""How well a model predicts a text."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from elmokit.checkpoints.checkpoint import Checkpoint, random_checkpoint
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig
from elmokit.lm import perplexity as perplexity_module
from elmokit.lm.language_model import LanguageModel
from elmokit.lm.load import load_language_model
from elmokit.lm.perplexity import perplexity, stream_perplexity
from elmokit.model.bilm import BiLM
from elmokit.model.softmax import SoftmaxHead
from elmokit.text.batch import word_batch
from elmokit.text.lexicon import Lexicon
from elmokit.text.vocabulary import Vocabulary

WORDS = Vocabulary(("<S>", "</S>", "<UNK>", "the", "bank", "river", "."))
TEXT = [["the", "bank", "."], ["a", "river", "bank", "."], [], ["the", "ferry"], ["."]]
TARGETS = sum(len(sentence) + 1 for sentence in TEXT)
CONFIG = BiLMConfig(
    char_cnn=CharCnnConfig(embedding_dim=3, filters=((1, 4), (3, 4)), highways=1), cell_dim=6, projection_dim=4, layers=2
)


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(BiLM(CONFIG), SoftmaxHead(len(WORDS), 4))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


def test_by_the_definition(model: LanguageModel) -> None:
    """The text sentence by sentence, each direction's state carried, the backward one from the sentence before."""
    totals, state = [0.0, 0.0], None
    for sentence in TEXT:
        batch = word_batch([sentence])
        with torch.no_grad():
            x_BTP = model.bilm.words(torch.from_numpy(batch.chars_UW))[torch.from_numpy(batch.index_BT)]
            forward, after_forward = model.bilm.forward_stack(x_BTP[:, :-1], None, state and state[0])
            backward, after_backward = model.bilm.backward_stack(x_BTP.flip(1)[:, :-1], None, state and state[1])
        state = (after_forward, after_backward)
        ids = [0, *WORDS.ids(sentence).tolist(), 1]
        for i, (layers, targets) in enumerate([(forward, ids[1:]), (backward, ids[::-1][1:])]):
            log_p = torch.log_softmax(model.head(layers[-1][0]), -1)
            totals[i] -= sum(log_p[t, target].item() for t, target in enumerate(targets))
    score = perplexity(model, WORDS, TEXT)
    assert score.forward == pytest.approx(math.exp(totals[0] / TARGETS), rel=1e-5)
    assert score.backward == pytest.approx(math.exp(totals[1] / TARGETS), rel=1e-5)
    assert score.mean == pytest.approx(math.exp(sum(totals) / 2 / TARGETS), rel=1e-5)
    assert score.tokens == TARGETS
    assert score.oov == pytest.approx(2 / 10), "a and ferry among ten words; end marks do not count"


def test_a_head_that_knows_nothing_gives_the_vocabularys_size() -> None:
    score = perplexity(language_model_that_knows_nothing(len(WORDS)), WORDS, TEXT)
    assert (score.forward, score.backward, score.mean) == pytest.approx((7, 7, 7))


def ids_of(text: list[list[str]]) -> tuple[list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]], Lexicon]:
    lexicon = Lexicon(WORDS)
    return [lexicon.ids(sentence) for sentence in text], lexicon


@pytest.mark.parametrize("window", [1, 3, 256])
def test_the_window_changes_no_number(model: LanguageModel, window: int) -> None:
    sentences, lexicon = ids_of(TEXT)
    score = stream_perplexity(model, iter(sentences), lexicon.characters, window=window)
    assert score.bits_per_character is None, "of ids no spelling is known"
    whole = vars(perplexity(model, WORDS, TEXT))
    assert {**vars(score), "bits_per_character": whole["bits_per_character"]} == pytest.approx(whole, rel=1e-6)


def test_more_rows_count_the_same_targets(model: LanguageModel) -> None:
    sentences, lexicon = ids_of(TEXT)
    one, four, many = (stream_perplexity(model, iter(sentences), lexicon.characters, rows) for rows in (1, 4, 20))
    assert one.tokens == four.tokens == many.tokens == TARGETS
    assert one.oov == four.oov == many.oov
    assert four.mean == pytest.approx(one.mean, rel=0.2), "less context, but nearly the same"
    assert four.mean != one.mean


def test_no_sentence_is_an_error(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="no sentence to score"):
        perplexity(model, WORDS, [])


def test_only_empty_sentences_ask_for_end_marks(model: LanguageModel) -> None:
    score = perplexity(model, WORDS, [[], []])
    assert score.tokens == 2
    assert score.oov == 0
    assert score.bits_per_character is None, "there is no character"


class TestBitsPerCharacter:
    """log2 of the mean for each target, and 8 for each byte of an unknown word and for its end."""

    def test_a_case_by_hand(self) -> None:
        """Every word has the probability 1/8; Fähre, which is not known, is spelt with six bytes, and its end."""
        words = Vocabulary((*WORDS.words, "银行"))
        even = language_model_that_knows_nothing(len(words))
        score = perplexity(even, words, [["the", "银行"], ["Fähre"]])
        bits = 3 * (2 + 1 + 1 + 1) + 8 * (6 + 1)
        characters = (3 + 1) + (2 + 1) + (5 + 1)
        assert score.bits_per_character == pytest.approx(bits / characters)
        twice = perplexity(even, words, [["the", "银行"], ["Fähre"], ["the", "银行"], ["Fähre"]])
        assert twice.bits_per_character == pytest.approx(bits / characters), "a text twice as long is as hard to tell"

    def test_directions_count_by_their_mean(self, model: LanguageModel) -> None:
        known = [["the", "bank", "."], ["river", "bank"]]
        score = perplexity(model, WORDS, known)
        assert score.forward != score.backward
        characters = sum(len(word) + 1 for sentence in known for word in sentence)
        assert score.oov == 0
        assert score.bits_per_character == pytest.approx(math.log2(score.mean) * score.tokens / characters)

    def test_words_that_are_forgotten_cost_what_they_are_spelt_with(self) -> None:
        """Perplexity falls the fewer words a vocabulary has; what it takes to tell a text does not."""
        text = [["the", "bank", "."], ["the", "river", "bank", "."]]
        small = Vocabulary(WORDS.words[:4])
        large, little = (perplexity(language_model_that_knows_nothing(len(words)), words, text) for words in (WORDS, small))
        assert little.mean < large.mean
        assert large.bits_per_character is not None
        assert little.bits_per_character is not None
        assert little.bits_per_character > 2 * large.bits_per_character

    def test_a_lone_surrogate_has_three_bytes(self) -> None:
        score = perplexity(language_model_that_knows_nothing(8), Vocabulary((*WORDS.words, "x")), [["\ud800"]])
        assert score.bits_per_character == pytest.approx((3 * 2 + 8 * 4) / 2)


def language_model_that_knows_nothing(words: int) -> LanguageModel:
    """Every word is as likely as any other."""
    model = LanguageModel(BiLM(CONFIG), SoftmaxHead(words, 4))
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model.eval()


def test_a_checkpoint_gives_the_same_model(model: LanguageModel) -> None:
    checkpoint = Checkpoint(
        config=ElmoConfig(bilm=CONFIG),
        bilm=model.bilm.state_dict(),
        head=model.head.state_dict(),
        vocabulary=WORDS,
        origin="here",
    )
    loaded, vocabulary = load_language_model(checkpoint)
    assert not loaded.training
    assert vocabulary is WORDS
    assert perplexity(loaded, vocabulary, TEXT) == perplexity(model, WORDS, TEXT)


def test_a_checkpoint_without_a_head_says_so() -> None:
    with pytest.raises(ValueError, match=r"random values \(seed 1\): has no language-model head"):
        load_language_model(random_checkpoint(ElmoConfig(bilm=CONFIG), 1))


def test_sentences_alone_are_those_that_are_scored_one_by_one(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many targets as in the stream; nothing of one sentence is known in the next, however they are cut."""
    monkeypatch.setattr(perplexity_module, "SENTENCES_AT_A_TIME", 2)
    together = perplexity(model, WORDS, TEXT, alone=True)
    each = [perplexity(model, WORDS, [sentence]) for sentence in TEXT]
    for way in ("forward", "backward"):
        total = math.fsum(math.log(getattr(score, way)) * score.tokens for score in each)
        assert math.log(getattr(together, way)) == pytest.approx(total / TARGETS, rel=1e-6)
    stream = perplexity(model, WORDS, TEXT)
    assert (together.tokens, together.oov) == (TARGETS, stream.oov)
    assert together.mean != pytest.approx(stream.mean, rel=1e-3)
    assert together.bits_per_character is not None
    with pytest.raises(ValueError, match="the text is empty"):
        perplexity(model, WORDS, [], alone=True)
