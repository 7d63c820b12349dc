"""Text files → memory-mapped word ids."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from elmokit.config import TextConfig
from elmokit.errors import FormatError
from elmokit.pretraining import corpus as corpus_module
from elmokit.pretraining import corpus_reading
from elmokit.pretraining.corpus import Corpus, Shard, build_corpus, load_corpus
from elmokit.pretraining.reading import TextSource
from elmokit.text.bytes import encode_words

PLAIN = TextConfig(tokenizer="whitespace")
TEXT = "b a a\nc <S> a\n\nb <UNK> d a\n"
HELDOUT = "a new word\nb\n"


@pytest.fixture
def sources(tmp_path: Path) -> tuple[TextSource, TextSource]:
    (tmp_path / "train.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "heldout.txt").write_text(HELDOUT, encoding="utf-8")
    return TextSource([str(tmp_path / "train.txt")]), TextSource([str(tmp_path / "heldout.txt")])


def words_of(corpus: Corpus, shard: Shard) -> list[str]:
    return [" ".join(corpus.words[int(i)] for i in ids) for ids in shard.sentences()]


def built(
    sources: tuple[TextSource, TextSource | None], folder: Path, text: TextConfig = PLAIN, max_characters: int = 12
) -> Corpus:
    train, heldout = (source and dataclasses.replace(source) for source in sources)
    assert train is not None
    return build_corpus(train, heldout, folder, text, max_characters)


def test_all_sentences_in_file_order(sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
    corpus = built(sources, tmp_path / "shards")
    assert words_of(corpus, corpus.train) == ["b a a", "c <S> a", "b <UNK> d a"]
    assert words_of(corpus, corpus.heldout) == ["a new word", "b"]
    assert len(corpus.train) == 3
    assert corpus.train.targets == 10 + 3
    assert corpus.facts["tokens"] == 10
    assert corpus.facts["sentences"] == 3
    assert {"lines": 4, "undecodable": 0, "empty": 1}.items() <= corpus.facts["read"].items()


def test_words_are_sorted_by_their_frequency_in_the_training_text(sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
    """Equally frequent ones as first met; those of the held-out text alone last, outside every vocabulary."""
    corpus = built(sources, tmp_path / "shards")
    assert corpus.words.first(100) == ("<S>", "</S>", "<UNK>", "a", "b", "c", "d", "new", "word")
    assert corpus.facts["words_of_training"] == 7


def test_characters_are_those_of_the_words(sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
    corpus = built(sources, tmp_path / "shards")
    np.testing.assert_array_equal(corpus.characters(np.array([8, 0, 4])), encode_words(["word", "<S>", "b"], 12))


def test_some_tokens_at_the_beginning(sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
    train = built(sources, tmp_path / "shards").train
    assert [len(list(train.sentences(tokens))) for tokens in (1, 3, 4, 100)] == [1, 1, 2, 3]


def test_a_long_text_is_counted_piece_by_piece(
    sources: tuple[TextSource, TextSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = built(sources, tmp_path / "whole")
    monkeypatch.setattr(corpus_module, "_AT_A_TIME", 3)
    pieces = built(sources, tmp_path / "pieces")
    assert pieces.words.first(100) == whole.words.first(100)
    np.testing.assert_array_equal(pieces.train.tokens, whole.train.tokens)


class TestReuse:
    """Shards are made once, and anew when what they were made of has changed."""

    @pytest.fixture
    def made(self, sources: tuple[TextSource, TextSource], tmp_path: Path) -> float:
        built(sources, tmp_path / "shards")
        return (tmp_path / "shards" / "words.txt").stat().st_mtime_ns

    def test_the_same_again(self, made: float, sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
        again = built(sources, tmp_path / "shards")
        assert (tmp_path / "shards" / "words.txt").stat().st_mtime_ns == made
        assert again.facts["read"]["lines"] == 4, "what was counted then is known now"

    def test_a_file_that_changed(self, made: float, sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
        (tmp_path / "train.txt").write_text(TEXT + "b e\n", encoding="utf-8")
        assert "e" in built(sources, tmp_path / "shards").words.first(100)
        assert (tmp_path / "shards" / "words.txt").stat().st_mtime_ns != made

    def test_a_file_of_the_same_size_and_time_but_other_words(
        self, made: float, sources: tuple[TextSource, TextSource], tmp_path: Path
    ) -> None:
        written = (tmp_path / "train.txt").stat().st_mtime_ns
        (tmp_path / "train.txt").write_text(TEXT.replace("d", "e"), encoding="utf-8")
        os.utime(tmp_path / "train.txt", ns=(written, written))
        assert "e" in built(sources, tmp_path / "shards").words.first(100)

    def test_a_copy_of_the_text(self, made: float, sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
        os.utime(tmp_path / "train.txt", ns=(1, 1))
        built(sources, tmp_path / "shards")
        assert (tmp_path / "shards" / "words.txt").stat().st_mtime_ns == made

    def test_another_heldout_text(self, made: float, sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
        (tmp_path / "heldout.txt").write_text("other\n", encoding="utf-8")
        assert "other" in built(sources, tmp_path / "shards").words.first(100)

    def test_other_settings(self, made: float, sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
        upper = built(sources, tmp_path / "shards", dataclasses.replace(PLAIN, tokenizer="characters"))
        assert upper.facts["text"]["tokenizer"] == "characters"
        assert built(sources, tmp_path / "shards", max_characters=20).characters(np.array([3])).shape == (1, 20)

    def test_damaged_facts(self, made: float, sources: tuple[TextSource, TextSource], tmp_path: Path) -> None:
        (tmp_path / "shards" / "corpus.json").write_text("{", encoding="utf-8")
        built(sources, tmp_path / "shards")
        assert json.loads((tmp_path / "shards" / "corpus.json").read_text(encoding="utf-8"))["tokens"] == 10

    @pytest.mark.parametrize("left", [0, 60, 130])
    def test_damaged_shards_are_named(
        self, made: float, sources: tuple[TextSource, TextSource], tmp_path: Path, left: int
    ) -> None:
        path = tmp_path / "shards" / "train.tokens.npy"
        path.write_bytes(path.read_bytes()[:left])
        with pytest.raises(FormatError, match=r"shards: damaged shards .* delete this folder"):
            load_corpus(tmp_path / "shards")


def test_a_hundredth_of_the_documents_is_held_out_by_default(tmp_path: Path) -> None:
    documents = [f"d{number} x\nd{number} y\n" for number in range(350)]
    (tmp_path / "train.txt").write_text("\n".join(documents), encoding="utf-8")
    corpus = built((TextSource([str(tmp_path / "train.txt")]), None), tmp_path / "shards")
    kept = [99, 199, 299]
    assert words_of(corpus, corpus.heldout) == [f"d{number} {end}" for number in kept for end in "xy"]
    assert words_of(corpus, corpus.train) == [f"d{number} {end}" for number in range(350) if number not in kept for end in "xy"]


def test_it_is_not_more_than_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_reading, "HELDOUT_TOKENS", 3)
    (tmp_path / "train.txt").write_text("a b\n\n" * 600, encoding="utf-8")
    corpus = built((TextSource([str(tmp_path / "train.txt")]), None), tmp_path / "shards")
    assert len(corpus.heldout.tokens) == 4
    assert len(corpus.train.tokens) == 1200 - 4


@pytest.mark.parametrize(
    ("train", "heldout", "said"),
    [
        (b"", b"a\n", "--corpus: no text is left to learn from in .*train.txt"),
        (b"\xff\xff\n\n", b"a\n", "--corpus: no text is left to learn from in .*train.txt"),
        (b"a\n", b" \n", "--heldout: no text to measure on in .*heldout.txt"),
        (b"a\nb\n", None, "too short to keep a hundredth back: give --heldout"),
    ],
)
def test_no_text_is_one_error(tmp_path: Path, train: bytes, heldout: bytes | None, said: str) -> None:
    (tmp_path / "train.txt").write_bytes(train)
    kept = None
    if heldout is not None:
        (tmp_path / "heldout.txt").write_bytes(heldout)
        kept = TextSource([str(tmp_path / "heldout.txt")])
    with pytest.raises(ValueError, match=said):
        built((TextSource([str(tmp_path / "train.txt")]), kept), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"train.txt", "heldout.txt"}, "nothing is left half-written"
