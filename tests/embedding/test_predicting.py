"""`Elmo.score`, `Elmo.fill` and `Elmo.augment`."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from elmokit.checkpoints.checkpoint import Checkpoint, random_checkpoint
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig, TextConfig
from elmokit.embedding.elmo import Elmo
from elmokit.lm.perplexity import perplexity
from elmokit.model.softmax import SoftmaxHead
from elmokit.text.vocabulary import Vocabulary

RIVER = "I sat by the river bank ."
WORDS = RIVER.split()
SENTENCES = [WORDS, [], ["The", "bank", "raised", "its", "zyzzyvas", "."], ["Hello"]]


def test_one_text_one_score(en_small: Elmo) -> None:
    one = en_small.score(RIVER)
    assert one.tokens == WORDS
    assert len(one.forward) == len(one.backward) == len(WORDS) + 1
    as_text, as_words = en_small.score([RIVER])[0], en_small.score([WORDS])[0]
    for other in (as_text, as_words):
        np.testing.assert_array_equal(other.forward, one.forward)
        np.testing.assert_array_equal(other.backward, one.backward)
    assert en_small.score([]) == []


def test_words_in_order_are_likelier_than_the_same_words_shuffled(en_small: Elmo) -> None:
    """The bundled model knows some English, and its end of a sentence."""
    good, bad = en_small.score([WORDS, ["bank", "the", "I", "by", "sat", ".", "river"]])
    assert good.forward.sum() > bad.forward.sum() + 10
    assert good.backward.sum() > bad.backward.sum() + 10
    assert math.exp(good.forward[-1]) > 0.8, "a sentence ends behind its full stop"


def test_a_score_does_not_depend_on_its_batch(en_small: Elmo) -> None:
    together = en_small.score(SENTENCES)
    assert [score.tokens for score in together] == SENTENCES
    assert together[2].unknown.tolist() == [False, False, False, False, True, False]
    for budget in (1, 9):
        for score, other in zip(en_small.score(SENTENCES, batch_tokens=budget), together, strict=True):
            np.testing.assert_allclose(score.forward, other.forward, rtol=0, atol=1e-4)
            np.testing.assert_allclose(score.backward, other.backward, rtol=0, atol=1e-4)


def test_carried_state_counts_as_perplexity_does(en_small: Elmo) -> None:
    text = [sentence for sentence in SENTENCES if sentence]
    scores = en_small.score(text, carry_state=True)
    said = perplexity(en_small.language_model.eval(), en_small.vocabulary, text, en_small.reader)
    total = sum(score.forward.sum() + score.backward.sum() for score in scores)
    assert math.exp(-total / 2 / said.tokens) == pytest.approx(said.mean, rel=1e-6)


def test_fill_sums_to_1_and_ignores_what_stands_there(en_small: Elmo) -> None:
    size = len(en_small.vocabulary)
    found = en_small.fill(RIVER, 5, k=size)
    for candidates in (found.forward, found.backward, found.joint):
        assert len({word for word, _ in candidates}) == size
        assert math.fsum(p for _, p in candidates) == pytest.approx(1, abs=1e-9)
    assert en_small.fill([*WORDS[:5], "qwertyuiop", "."], 5, k=size) == found
    assert [word for word, _ in en_small.fill(RIVER, 3, k=2).joint] == ["the", "a"]
    score = en_small.score(RIVER)
    assert math.log(dict(found.forward)["bank"]) == pytest.approx(score.forward[5], abs=1e-4)
    assert math.log(dict(found.backward)["bank"]) == pytest.approx(score.backward[6], abs=1e-4)


def lowercase_model() -> Elmo:
    """Reads and predicts lower case alone."""
    config = ElmoConfig(
        bilm=BiLMConfig(char_cnn=CharCnnConfig(embedding_dim=4, filters=((1, 4), (2, 6))), cell_dim=8, projection_dim=3),
        text=TextConfig(lowercase=True),
    )
    checkpoint = random_checkpoint(config, seed=1)
    torch.manual_seed(0)
    vocabulary = Vocabulary(("<S>", "</S>", "<UNK>", "the", "bank"))
    head = SoftmaxHead(len(vocabulary), 3).state_dict()
    return Elmo(Checkpoint(**{**vars(checkpoint), "head": head, "vocabulary": vocabulary}))


def test_words_are_read_in_the_models_form_and_given_back_as_they_were() -> None:
    elmo = lowercase_model()
    upper, lower = elmo.score("The BANK"), elmo.score("the bank")
    assert upper.tokens == ["The", "BANK"]
    assert not upper.unknown.any()
    np.testing.assert_array_equal(upper.forward, lower.forward)
    assert elmo.fill("The BANK x", 2) == elmo.fill("the bank x", 2)


def test_copies_have_as_many_words_and_none_where_nothing_can_be_replaced(en_small: Elmo) -> None:
    copies = en_small.augment([WORDS, [], ["1", "!"]], rate=0.5, copies=3, seed=1)
    assert list(map(len, copies)) == [3, 0, 0]
    for copy in copies[0]:
        assert len(copy) == len(WORDS)
        assert copy != WORDS
        assert copy[-1] == "."
    assert copies == en_small.augment(iter([WORDS, [], ["1", "!"]]), rate=0.5, copies=3, seed=1)
    assert copies != en_small.augment([WORDS, [], ["1", "!"]], rate=0.5, copies=3, seed=2)
    assert en_small.augment([]) == []


def test_words_that_must_stay(en_small: Elmo) -> None:
    allowed = [[word == "the" for word in WORDS]]
    assert en_small.augment([WORDS], rate=1, top_k=1, allowed=allowed) == [[["I", "sat", "by", "a", "river", "bank", "."]]]


def test_copies_are_written_in_the_case_of_the_original() -> None:
    """By a model that knows `the` and `bank` alone, in lower case."""
    assert lowercase_model().augment([["The", "BANK", "bank", "x"]], rate=1, top_k=1, allowed=[[True, True, True, False]]) == [
        [["Bank", "THE", "the", "x"]]
    ]


def test_scoring_leaves_the_network_as_it_was(en_small: Elmo) -> None:
    elmo = lowercase_model()
    elmo.bilm.train()
    elmo.score("the bank")
    elmo.fill("the bank", 0)
    assert elmo.bilm.training
    assert elmo.checkpoint.head is not None
    assert elmo.language_model.head.weight.data_ptr() == elmo.checkpoint.head["weight"].data_ptr(), "no copy of a gigabyte"


def test_several_threads_may_call_it(en_small: Elmo) -> None:
    elmo = Elmo.from_pretrained("en-small", device="cpu")  # one whose head nobody has asked for yet
    alone = [en_small.score([sentence])[0].forward for sentence in SENTENCES]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sentence: elmo.score([sentence])[0].forward, SENTENCES * 3))
    for number, forward in enumerate(together):
        np.testing.assert_allclose(forward, alone[number % len(SENTENCES)], rtol=0, atol=1e-5)


def test_a_model_without_a_head_says_which_have_one(elmo: Elmo) -> None:
    for call in (
        lambda: elmo.score("a"),
        lambda: elmo.fill("a", 0),
        lambda: elmo.augment([["a"]]),
        lambda: elmo.vocabulary,
        lambda: elmo.language_model,
    ):
        with pytest.raises(ValueError, match="has no language-model head.* en-small can"):
            call()


def test_bad_inputs(en_small: Elmo) -> None:
    wrong: list[Any] = [["text", ["words"]], 3, [["a", 3]]]
    for bad in wrong:
        with pytest.raises(ValueError, match="input"):
            en_small.score(bad)
    with pytest.raises(ValueError, match="batch_tokens must be 1 or more"):
        en_small.score("a", batch_tokens=0)
    with pytest.raises(ValueError, match="sentences must be lists of words, not texts"):
        en_small.augment(["a text"])
    with pytest.raises(ValueError, match="allowed must have a list for each sentence"):
        en_small.augment([["a", "b"]], allowed=[[True]])
    with pytest.raises(ValueError, match="rate must be above 0"):
        en_small.augment([["a", "b"]], rate=0)
    with pytest.raises(ValueError, match=r"inputs\[0\]\[1\] is int"):
        en_small.fill(["a", 3], 0)  # type: ignore[list-item]  # that is the point
