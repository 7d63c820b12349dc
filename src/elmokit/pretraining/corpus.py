"""Text → memory-mapped word ids: read once, used by every pass.

A folder of shards holds
    words.txt, words.starts.npy               every distinct word, `<S> </S> <UNK>` first, then by falling frequency: the first V
                                              are the vocabulary; and where each begins
    train.tokens.npy, train.starts.npy        word ids of all sentences in file order, and where each begins
    heldout.tokens.npy, heldout.starts.npy    the same for the text kept back
    corpus.json                               what was read, and the settings that it was read with

Until it is finished, the folder `NAME.reading` beside it holds what is read so far (`elmokit.pretraining.corpus_reading`).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from elmokit.config import TextConfig
from elmokit.errors import FormatError
from elmokit.pretraining.corpus_reading import SHARDS, CorpusReading, Journal
from elmokit.pretraining.growing_words import by_frequency
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.spelled_words import SpelledWords, load_words, write_words
from elmokit.text.vocabulary import SPECIAL_WORDS, Vocabulary

_FORMAT = 2
_AT_A_TIME = 1 << 22
RARELY = 1000
"""A limit of characters is advised that cuts less than one word in so many."""


class Shard:
    """Sentences of word ids, mapped into memory.

    Args:
        tokens: All ids, sentence after sentence.
        starts: Where each sentence begins in `tokens`, and the end.
        new_ids_N: The id by which each word goes now, where words have another order than on the disk.
    """

    def __init__(self, tokens: NDArray[np.int32], starts: NDArray[np.int64], new_ids_N: NDArray[np.int32] | None = None) -> None:
        self.tokens = tokens
        self.starts = starts
        self.new_ids_N = new_ids_N

    def __len__(self) -> int:
        """Sentences."""
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> NDArray[np.int64]:
        """Give the word ids of a sentence."""
        return self.ids(int(self.starts[number]), int(self.starts[number + 1]))

    def ids(self, start: int, end: int) -> NDArray[np.int64]:
        """Give the word ids at some places of the text."""
        ids = self.tokens[start:end]
        return (ids if self.new_ids_N is None else self.new_ids_N[ids]).astype(np.int64)

    def counts(self, words: int) -> NDArray[np.int64]:
        """Count how often each word occurs, by its id on the disk, some millions at a time.

        Args:
            words: So many at least.
        """
        counts_N = np.zeros(words, dtype=np.int64)
        for start in range(0, len(self.tokens), _AT_A_TIME):
            part_N = np.bincount(self.tokens[start : start + _AT_A_TIME], minlength=len(counts_N))
            part_N[: len(counts_N)] += counts_N
            counts_N = part_N
        return counts_N

    def sentences(self, tokens: int | None = None) -> Iterator[NDArray[np.int64]]:
        """Give the sentences in file order, until there are about `tokens` of them."""
        for number in range(len(self)):
            if tokens is not None and self.starts[number] >= tokens:
                return
            yield self[number]

    @property
    def targets(self) -> int:
        """What a pass asks for in each direction: all words and one mark for each sentence."""
        return len(self.tokens) + len(self)


@dataclass(frozen=True)
class Corpus:
    """A corpus as training reads it."""

    words: SpelledWords
    """Every distinct word; the first V are the vocabulary."""
    train: Shard
    heldout: Shard
    facts: dict[str, Any]
    """What `corpus.json` says: lines, bad lines, sentences, tokens, files."""
    vocabulary_size: int | None = None
    """V, where the vocabulary is not the corpus' own choice (`elmokit.pretraining.new_order`)."""

    def vocabulary(self, size: int) -> Vocabulary:
        """Give the words of the softmax: the most frequent ones of the training text, or those that were chosen for it.

        Args:
            size: V at most, where they were not.
        """
        return Vocabulary(self.words.first(self.vocabulary_size or min(size, self.facts["words_of_training"])))

    def heldout_words(self) -> Iterator[list[str]]:
        """Give the held-out sentences as words."""
        for ids in self.heldout.sentences():
            yield [self.words[int(i)] for i in ids]

    def characters(self, ids_U: NDArray[np.int64]) -> NDArray[np.int16]:
        """Give chars_UW of the words with these ids."""
        return self.words.characters(ids_U)


def load_corpus(folder: Path) -> Corpus:
    """Map the shards in `folder`.

    Raises:
        FormatError: They are damaged.
    """
    try:
        facts = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        shards = [
            Shard(*(np.load(folder / f"{name}.{part}.npy", mmap_mode="r") for part in ("tokens", "starts"))) for name in SHARDS
        ]
        train, heldout = shards
        return Corpus(load_words(folder, facts["max_characters"]), train, heldout, facts)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise FormatError(f"{folder}: damaged shards ({error}); delete this folder, they are made anew") from error


def build_corpus(
    train: TextSource,
    heldout: TextSource | None,
    folder: Path,
    text: TextConfig,
    max_characters: int,
    workers: int | None = None,
) -> Corpus:
    """Read text into `folder`, or take what is there if it was made of the same files with the same settings.

    An interrupted reading goes on where it was.

    Args:
        train: The text to learn from.
        heldout: The text to measure on; None: every hundredth document of `train`, at most 200,000 tokens.
        folder: Where the shards go.
        text: Tokenizer and normalization.
        max_characters: Places for a word's characters.
        workers: Processes that read; None: one a core.

    Raises:
        ValueError: No text is left to learn from, or none to measure on.
    """
    settings = {
        "format": _FORMAT,
        "text": asdict(text),
        "max_characters": max_characters,
        "train": train.fingerprint(),
        "heldout": heldout and heldout.fingerprint(),
    }
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    if _key_of(folder) == key:
        return load_corpus(folder)
    unfinished = folder.with_name(folder.name + ".reading")
    if _key_of(unfinished) != key:
        journal = CorpusReading(unfinished, key, train, heldout, text, workers).run()
        try:
            _check_text(journal, train, heldout)
        except ValueError:
            shutil.rmtree(unfinished)
            raise
        _finish(unfinished, journal, {"key": key, **settings})
    for path in unfinished.iterdir():
        if path.suffix == ".raw" or path.name in ("repeated.npy", "journal.json"):
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(unfinished, folder)
    return load_corpus(folder)


def _key_of(folder: Path) -> str | None:
    """What the shards in `folder` were made of; None if there are none."""
    try:
        return str(json.loads((folder / "corpus.json").read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_text(journal: Journal, train: TextSource, heldout: TextSource | None) -> None:
    """Refuse to train or to measure on nothing.

    Raises:
        ValueError: Names the option.
    """
    if not journal.tokens["train"]:
        raise ValueError(f"--corpus: no text is left to learn from in {train.describe()}")
    if not journal.tokens["heldout"]:
        where = heldout.describe() if heldout else "the corpus, which is too short to keep a hundredth back: give --heldout"
        raise ValueError(f"--heldout: no text to measure on in {where}")


def _finish(folder: Path, journal: Journal, facts: dict[str, Any]) -> None:
    """Renumber by frequency what was read with provisional ids; `corpus.json` comes last and says that all is there."""
    counts_N = _count(folder / "train.raw", journal.words)
    order = by_frequency(np.fromfile(folder / "hashes.raw", dtype=np.uint64), counts_N)
    lengths_N = np.fromfile(folder / "lengths.raw", dtype=np.int32)
    write_words(folder, np.memmap(folder / "words.raw", dtype=np.uint8, mode="r"), lengths_N, order.first_N)
    for name in SHARDS:
        _renumber(folder / f"{name}.raw", order.new_id_N, folder / f"{name}.tokens.npy")
        sentences = np.fromfile(folder / f"{name}.starts.raw", dtype=np.int32)
        np.save(folder / f"{name}.starts.npy", np.concatenate([[0], np.cumsum(sentences, dtype=np.int64)]))
    facts |= {
        "tokens": journal.tokens["train"],
        "sentences": journal.sentences["train"],
        "words": len(order.counts_N),
        "words_of_training": len(SPECIAL_WORDS) + int((order.counts_N[len(SPECIAL_WORDS) :] > 0).sum()),
        "read": {
            **{name.removeprefix("train."): number for name, number in journal.counts.items() if name.startswith("train.")},
            "nul_lines": journal.nul_lines,
            "repeated_lines": round(journal.repeated_lines),
        },
        "cut_words": _cut_words(lengths_N[order.first_N], order.counts_N, facts["max_characters"]),
    }
    temporary = folder / ".corpus.json"
    temporary.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, folder / "corpus.json")


def _cut_words(lengths_N: NDArray[np.int32], counts_N: NDArray[np.int64], max_characters: int) -> dict[str, float | int]:
    """How much of the text is words longer than the model has places for, and how many places would cut few of them."""
    tokens_by_length = np.bincount(lengths_N, weights=counts_N)
    longer = tokens_by_length[::-1].cumsum()[::-1] / max(1.0, tokens_by_length.sum())  # share of words so long or longer
    longer = np.append(longer, 0.0)
    room = max_characters - 2
    enough = int(np.argmax(longer[1:] < 1 / RARELY)) if len(longer) > 1 else 0
    return {"share": float(longer[room + 1]) if room + 1 < len(longer) else 0.0, "max_characters_advised": enough + 2}


def _count(raw: Path, words: int) -> NDArray[np.int64]:
    """Count how often each provisional id occurs, some millions at a time."""
    counts_N = np.zeros(words, dtype=np.int64)
    ids = _mapped(raw, np.int32)
    for start in range(0, len(ids), _AT_A_TIME):
        counts_N += np.bincount(ids[start : start + _AT_A_TIME], minlength=words)
    return counts_N


def _renumber(raw: Path, new_id_N: NDArray[np.int32], target: Path) -> None:
    """Map provisional ids to final ones, some millions at a time."""
    old = _mapped(raw, np.int32)
    new = np.lib.format.open_memmap(target, mode="w+", dtype=np.int32, shape=old.shape)
    for start in range(0, len(old), _AT_A_TIME):
        new[start : start + _AT_A_TIME] = new_id_N[old[start : start + _AT_A_TIME]]
    new.flush()


def _mapped(raw: Path, dtype: DTypeLike) -> NDArray[Any]:
    """A raw file as an array; an empty one cannot be mapped."""
    return np.memmap(raw, dtype=dtype, mode="r") if raw.stat().st_size else np.empty(0, dtype=dtype)
