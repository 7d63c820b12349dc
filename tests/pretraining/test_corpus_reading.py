"""Reading side by side, in bounded memory, with garbage in the text, and going on after an interruption."""

import gzip
import io
import itertools
import lzma
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elmokit.config import TextConfig
from elmokit.pretraining import corpus_reading, growing_words, reading
from elmokit.pretraining.blocks import Block, read_blocks
from elmokit.pretraining.corpus import Corpus, build_corpus
from elmokit.pretraining.growing_words import GrowingWords, by_frequency
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.repeated_lines import RepeatedLines
from elmokit.pretraining.spelled_words import SpelledWords, write_words
from elmokit.text.bytes import encode_words
from elmokit.text.vocabulary import SPECIAL_WORDS

PLAIN = TextConfig(tokenizer="whitespace")


def text_of(lines: int, seed: int = 0) -> str:
    """Some words often, most of them once; a document is some lines."""
    chance = random.Random(seed)
    words = [f"w{int(chance.paretovariate(0.7))}" for _ in range(lines * 6)]
    rows = [" ".join(words[6 * i : 6 * i + 6]) for i in range(lines)]
    return "\n".join(row + "\n" * (chance.random() < 0.5) for row in rows) + "\n"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_reading, "BLOCK_CHARACTERS", 2000)


def built(folder: Path, *files: Path, workers: int = 1) -> Corpus:
    return build_corpus(TextSource([str(file) for file in files]), None, folder, PLAIN, 20, workers)


def sentences_of(corpus: Corpus) -> list[list[str]]:
    return [[corpus.words[int(i)] for i in ids] for ids in corpus.train.sentences()]


def same(one: Corpus, two: Corpus) -> bool:
    """All arrays and all facts."""
    return (
        one.words.first(10**6) == two.words.first(10**6)
        and all(
            np.array_equal(getattr(getattr(one, shard), part), getattr(getattr(two, shard), part))
            for shard in ("train", "heldout")
            for part in ("tokens", "starts")
        )
        and one.facts == two.facts
    )


def test_side_by_side_is_one_after_the_other(tmp_path: Path, small_blocks: None) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(text_of(900, seed=ord(name[0])), encoding="utf-8")
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    assert same(built(tmp_path / "one", *files), built(tmp_path / "two", *files, workers=3))


def test_sentences_and_words_are_those_of_the_text(tmp_path: Path, small_blocks: None) -> None:
    (tmp_path / "a.txt").write_text(text_of(900), encoding="utf-8")
    corpus = built(tmp_path / "shards", tmp_path / "a.txt")
    lines = [line.split() for line in text_of(900).splitlines() if line]
    kept = [[corpus.words[int(i)] for i in ids] for ids in corpus.heldout.sentences()]
    assert sorted(sentences_of(corpus) + kept) == sorted(lines)
    counts = Counter(word for line in sentences_of(corpus) for word in line)
    order = corpus.words.first(corpus.facts["words_of_training"])[3:]
    assert [counts[word] for word in order] == sorted(counts.values(), reverse=True)
    assert len(set(order)) == len(order) == len(counts)


def test_forgetting_rare_words_changes_nothing(tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text(text_of(900), encoding="utf-8")
    whole = built(tmp_path / "whole", tmp_path / "a.txt")
    given_ids = []
    original = GrowingWords.__init__

    def small(self: GrowingWords, folder: Path, count: int = 0, most: int = 0) -> None:
        original(self, folder, count, 60)
        given_ids.append(self)

    monkeypatch.setattr(GrowingWords, "__init__", small)
    forgetful = built(tmp_path / "forgetful", tmp_path / "a.txt")
    assert same(whole, forgetful)
    assert given_ids[0].count > len(whole.words), "words were forgotten and met again"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_reading_goes_on(
    tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    files = [tmp_path / "a.txt", tmp_path / "b.txt.gz", tmp_path / "c.txt"]
    files[0].write_text(text_of(500, 1), encoding="utf-8")
    files[1].write_bytes(gzip.compress(text_of(500, 2).encode()))
    files[2].write_bytes(b"\xff\xfe\n" + text_of(300, 3).encode() + b"a\0b c\n")
    whole, blocks_of_all = counted(monkeypatch, tmp_path / "whole", *files)
    monkeypatch.setattr(corpus_reading, "JOURNAL_SECONDS", 0.0)
    for stop in (3, 5, 4):
        with monkeypatch.context() as patch:
            patch.setattr(corpus_reading.CorpusReading, "_join", _stopping(stop))
            with pytest.raises(KeyboardInterrupt):
                built(tmp_path / "parts", *files, workers=workers)
        assert not (tmp_path / "parts").exists()
    parts, blocks_read = counted(monkeypatch, tmp_path / "parts", *files, workers=workers)
    assert same(whole, parts)
    assert blocks_read == blocks_of_all - 12, "what was read before was not read again"
    assert not (tmp_path / "parts.reading").exists()


def counted(monkeypatch: pytest.MonkeyPatch, folder: Path, *files: Path, workers: int = 1) -> tuple[Corpus, int]:
    """The corpus, and how many blocks were read for it."""
    original, seen = corpus_reading.CorpusReading._join, []

    def join(self: corpus_reading.CorpusReading, block: Block, source: TextSource) -> None:
        seen.append(block)
        original(self, block, source)

    with monkeypatch.context() as patch:
        patch.setattr(corpus_reading.CorpusReading, "_join", join)
        return built(folder, *files, workers=workers), len(seen)


def _stopping(after: int) -> Callable[..., None]:
    """What joins some blocks and is killed in the midst of the next one."""
    original, seen = corpus_reading.CorpusReading._join, itertools.count(1)

    def join(self: corpus_reading.CorpusReading, block: Block, source: TextSource) -> None:
        if next(seen) > after:
            self._files["train.raw"].write(b"half")
            raise KeyboardInterrupt
        original(self, block, source)

    return join


def test_another_text_begins_anew(tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text(text_of(500), encoding="utf-8")
    monkeypatch.setattr(corpus_reading, "JOURNAL_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(corpus_reading, "read_blocks", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            built(tmp_path / "shards", tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text(text_of(400, seed=5), encoding="utf-8")
    assert same(built(tmp_path / "shards", tmp_path / "a.txt"), built(tmp_path / "other", tmp_path / "a.txt"))


def _interrupted(*arguments: object) -> Iterator[Block]:
    for number, block in enumerate(read_blocks(*arguments)):  # type: ignore[arg-type]  # as they came
        if number == 4:
            raise KeyboardInterrupt
        yield block


def test_garbage_is_counted_and_never_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 1000)
    content = [b"good line one\n\n"] * 300 + [
        b"caf\xe9\n",
        b"a\0b\0c\n",
        b"\n",
        b"x " * 1500 + b"\n",
        "长".encode() * 400 + b"\n",
    ]
    (tmp_path / "a.txt").write_bytes(b"".join(content))
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "blank.txt").write_bytes(b" \n\n")
    (tmp_path / "cut.txt.xz").write_bytes(lzma.compress(text_of(3000).encode())[:4000])
    corpus = built(tmp_path / "shards", *sorted(tmp_path.iterdir()))
    read = corpus.facts["read"]
    expected = {"undecodable": 1, "nul_lines": 1, "empty_files": 2, "damaged_files": 1, "cut": 3}
    assert expected.items() <= read.items()
    assert read["repeated_lines"] >= 299
    words = set(corpus.words.first(10**6))
    assert {"good", "abc", "x"} <= words
    assert sum(len(word) for word in words if word.startswith("长")) == 333 + 67, "cut between characters"
    assert corpus.facts["cut_words"]["share"] > 0


def test_the_limit_that_would_cut_few_words(tmp_path: Path) -> None:
    long = "ab" * 14
    (tmp_path / "a.txt").write_text("short words here\n" * 4000 + f"{long}\n" * 200 + f"{long * 2}\n" * 3, encoding="utf-8")
    cut = built(tmp_path / "shards", tmp_path / "a.txt").facts["cut_words"]
    assert cut["share"] == pytest.approx(203 / 12203, rel=0.05)  # 20 places hold 18 bytes
    assert cut["max_characters_advised"] == 28 + 2


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text_of(300).encode())))
    corpus = build_corpus(TextSource(["-"]), None, tmp_path / "shards", PLAIN, 20)
    assert corpus.facts["tokens"] > 1000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert same(corpus, build_corpus(TextSource(["-"]), None, tmp_path / "shards", PLAIN, 20)), "it is not read again"


@settings(max_examples=50)
@given(
    words=st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=30), max_size=20
    )
)
def test_the_table_gives_words_and_their_characters(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("words")
    every = [*SPECIAL_WORDS, *dict.fromkeys(word for word in words if word not in SPECIAL_WORDS)]
    spelled = [word.encode() for word in every]
    lengths = np.array([len(word) for word in spelled], dtype=np.int32)
    write_words(folder, np.frombuffer(b"".join(spelled), np.uint8), lengths, np.arange(len(every)))
    table = SpelledWords(np.fromfile(folder / "words.txt", np.uint8), np.load(folder / "words.starts.npy"), 12)
    assert table.first(100) == tuple(every)
    ids = np.arange(len(every))[::-1].copy()
    np.testing.assert_array_equal(table.characters(ids), encode_words([every[i] for i in ids], 12))


@settings(max_examples=50)
@given(data=st.data(), ids=st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_joining_and_sorting(data: st.DataObject, ids: list[int]) -> None:
    """Against a dictionary: some spellings stand more than once."""
    spellings = data.draw(st.lists(st.integers(0, 12), min_size=31, max_size=31))
    hashes = np.array([0, 1, 2, *(number + 3 for number in spellings)], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    counts = np.bincount(ids, minlength=len(hashes))
    order = by_frequency(hashes, counts)
    total: Counter[int] = Counter()
    first: dict[int, int] = {}
    for number, (value, times) in enumerate(zip(hashes.tolist(), counts.tolist(), strict=True)):
        total[value] += times
        first.setdefault(value, number)
    expected = sorted(
        first,
        key=lambda value: (first[value] if first[value] < 3 else 3, -total[value] if first[value] >= 3 else 0, first[value]),
    )
    assert hashes[order.first_N].tolist() == expected
    assert order.counts_N.tolist() == [total[value] for value in expected]
    assert [expected[i] for i in order.new_id_N] == hashes.tolist()


def test_repeated_lines_are_estimated() -> None:
    chance = np.random.default_rng(0)
    lines = RepeatedLines(1 << 16)
    truth = 0
    met: set[int] = set()
    for _ in range(30):
        some = chance.integers(0, 6000, 300).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for line in some.tolist():
            truth += line in met
            met.add(line)
        lines.add(some)
    assert lines.repeated == pytest.approx(truth, rel=0.03)
    assert truth > 3000


def test_its_words_stay_few(tmp_path: Path) -> None:
    words = GrowingWords(tmp_path, most=100)
    for number in range(50):
        words.ids(["often", *(f"w{number}.{i}" for i in range(20))], np.array([5] + [1] * 20))
        assert len(words._id_of) <= 121
    assert words.ids(["often", "<UNK>"], np.array([1, 1])).tolist() == [3, 2], "frequent words are never forgotten"
    assert growing_words.WORDS_AT_MOST >= 100_000
    words.close()
