"""A corpus by the ids of a vocabulary that it did not choose."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.config import TextConfig
from elmokit.pretraining import new_order
from elmokit.pretraining.corpus import Corpus, Shard, build_corpus
from elmokit.pretraining.new_order import with_vocabulary
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.spelled_words import SpelledWords
from elmokit.text.bytes import encode_words
from elmokit.text.vocabulary import SPECIAL_WORDS, UNK, Vocabulary

WORDS = st.sampled_from(["the", "bank", "river", "银行", "ä", "<S>", "</S>", UNK, "a b", " ", "a\r", "x" * 30]) | st.text(
    min_size=1
)
PLAIN = WORDS.map(lambda word: word.replace("\n", "n"))
"""What a sentence may hold; no word holds a line feed."""
SENTENCES = st.lists(st.lists(PLAIN, min_size=1, max_size=6), min_size=1, max_size=6)
VOCABULARIES = st.lists(
    PLAIN.filter(lambda word: word not in SPECIAL_WORDS and not word.endswith("\r")), unique=True, max_size=12
).map(lambda words: Vocabulary((*SPECIAL_WORDS, *words)))
ROOM = 12


def corpus_of(train: list[list[str]], heldout: list[list[str]]) -> Corpus:
    """A corpus as it is read from the disk."""
    counts = Counter(word for sentence in train + heldout for word in sentence if word not in SPECIAL_WORDS)
    words = [*SPECIAL_WORDS, *sorted(counts, key=lambda word: -counts[word])]
    spelled = [word.encode() + b"\n" for word in words]
    starts = np.cumsum([0, *map(len, spelled)])

    def shard(sentences: list[list[str]]) -> Shard:
        ids = [words.index(word) for sentence in sentences for word in sentence]
        return Shard(np.array(ids, np.int32), np.cumsum([0, *map(len, sentences)]))

    of_training = len(SPECIAL_WORDS) + len({word for sentence in train for word in sentence} - set(SPECIAL_WORDS))
    facts = {"words_of_training": of_training}
    return Corpus(SpelledWords(np.frombuffer(b"".join(spelled), np.uint8), starts, ROOM), shard(train), shard(heldout), facts)


def words_of(corpus: Corpus, shard: Shard) -> Iterator[list[str]]:
    return ([corpus.words[int(i)] for i in ids] for ids in shard.sentences())


@given(SENTENCES, SENTENCES, VOCABULARIES)
def test_other_ids_for_the_same_words(train: list[list[str]], heldout: list[list[str]], vocabulary: Vocabulary) -> None:
    corpus = corpus_of(train, heldout)
    found = with_vocabulary(corpus, vocabulary)
    assert list(words_of(found, found.train)) == train
    assert list(found.heldout_words()) == heldout
    assert found.vocabulary(4) == vocabulary, "it is not chosen by the text any more"
    every = found.words.first(len(found.words))
    assert every[: len(vocabulary)] == vocabulary.words
    own = corpus.words.first(len(corpus.words))
    assert every[len(vocabulary) :] == tuple(word for word in own if word not in vocabulary), "by falling frequency as before"
    for sentence, ids in zip(train, found.train.sentences(), strict=True):
        known = ids < len(vocabulary)
        np.testing.assert_array_equal(ids[known], vocabulary.ids(sentence)[known])
        assert known.tolist() == [word in vocabulary for word in sentence]
    ids_U = np.arange(len(every))
    np.testing.assert_array_equal(found.characters(ids_U), encode_words(every, ROOM))
    assert (found.train.targets, found.heldout.targets) == (corpus.train.targets, corpus.heldout.targets)


@pytest.mark.parametrize("at_a_time", [1, 2, 7])
def test_words_are_read_some_at_a_time(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    train = [["a", "b", "c", "b"], ["d", "b", "e"]]
    monkeypatch.setattr(new_order, "_AT_A_TIME", at_a_time)
    found = with_vocabulary(corpus_of(train, train), Vocabulary((*SPECIAL_WORDS, "new", "e", "b")))
    assert found.words.first(10) == (*SPECIAL_WORDS, "new", "e", "b", "a", "c", "d")
    assert [ids.tolist() for ids in found.train.sentences()] == [[6, 5, 7, 5], [8, 5, 4]]


def test_the_disk_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b c b\n\nd b e\n", encoding="utf-8")
    text = TextSource([str(tmp_path / "text.txt")])
    corpus = build_corpus(text, text, tmp_path / "corpus", TextConfig(tokenizer="whitespace"), ROOM)
    before = {path.name: path.read_bytes() for path in (tmp_path / "corpus").iterdir()}
    own = corpus.vocabulary(5)
    found = with_vocabulary(corpus, Vocabulary((*SPECIAL_WORDS, "e", "b")))
    assert list(words_of(found, found.train)) == [["a", "b", "c", "b"], ["d", "b", "e"]]
    assert {path.name: path.read_bytes() for path in (tmp_path / "corpus").iterdir()} == before
    assert corpus.vocabulary(5) == own, "nor does the corpus that it was made of change"
    assert found.vocabulary(50_000).words == (*SPECIAL_WORDS, "e", "b")
