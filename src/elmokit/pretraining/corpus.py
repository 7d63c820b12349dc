"""Text files → memory-mapped word ids: read once, used by every pass.

A folder of shards holds
    words.txt        every distinct word, `<S> </S> <UNK>` first, then by falling frequency: the first V are the vocabulary
    characters.npy   their character ids, (words, W)
    train.tokens.npy, train.starts.npy        word ids of all sentences in file order, and where each begins
    heldout.tokens.npy, heldout.starts.npy    the same for the text kept back
    corpus.json      what was read, and the settings that it was read with
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from elmokit.atomic import atomic_folder
from elmokit.config import TextConfig
from elmokit.errors import FormatError
from elmokit.pretraining.reading import Document, TextSource, read_documents
from elmokit.text.bytes import encode_words
from elmokit.text.lexicon import Lexicon
from elmokit.text.vocabulary import SPECIAL_WORDS, Vocabulary

HELDOUT_EVERY = 100
"""Without a held-out text of its own, every hundredth document is kept back …"""
HELDOUT_TOKENS = 200_000
"""… until there are so many tokens."""
_FORMAT = 1
_AT_A_TIME = 1 << 22


class Shard:
    """Sentences of word ids, mapped into memory.

    Args:
        tokens: All ids, sentence after sentence.
        starts: Where each sentence begins in `tokens`, and the end.
    """

    def __init__(self, tokens: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
        self.tokens = tokens
        self.starts = starts

    def __len__(self) -> int:
        """Sentences."""
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> NDArray[np.int64]:
        """Give the word ids of a sentence."""
        return self.tokens[self.starts[number] : self.starts[number + 1]].astype(np.int64)

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

    words: Vocabulary
    """Every distinct word; the first V are the vocabulary."""
    characters_NW: NDArray[np.int16]
    """Their character ids."""
    train: Shard
    heldout: Shard
    facts: dict[str, Any]
    """What `corpus.json` says: lines, bad lines, sentences, tokens, files."""

    def characters(self, ids_U: NDArray[np.int64]) -> NDArray[np.int16]:
        """Give chars_UW of the words with these ids."""
        return self.characters_NW[ids_U]


def load_corpus(folder: Path) -> Corpus:
    """Map the shards in `folder`.

    Raises:
        FormatError: They are damaged.
    """
    try:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("characters", *_SHARD_FILES)}
    except (OSError, EOFError, ValueError) as error:
        raise FormatError(f"{folder}: damaged shards ({error}); delete this folder, they are made anew") from error
    return Corpus(
        words=Vocabulary.load(folder / "words.txt"),
        characters_NW=arrays["characters"],
        train=Shard(arrays["train.tokens"], arrays["train.starts"]),
        heldout=Shard(arrays["heldout.tokens"], arrays["heldout.starts"]),
        facts=json.loads((folder / "corpus.json").read_text(encoding="utf-8")),
    )


_SHARD_FILES = ("train.tokens", "train.starts", "heldout.tokens", "heldout.starts")


def build_corpus(train: TextSource, heldout: TextSource | None, folder: Path, text: TextConfig, max_characters: int) -> Corpus:
    """Read text into `folder`, or take what is there if it was made of the same files with the same settings.

    Args:
        train: The text to learn from.
        heldout: The text to measure on; None: every hundredth document of `train`, at most 200,000 tokens.
        folder: Where the shards go.
        text: Tokenizer and normalization.
        max_characters: Places for a word's characters.

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
    with atomic_folder(folder) as temporary:
        _write_corpus(temporary, train, heldout, text, max_characters, {"key": key, **settings})
    return load_corpus(folder)


def _key_of(folder: Path) -> str | None:
    """What the shards in `folder` were made of; None if there are none."""
    try:
        return str(json.loads((folder / "corpus.json").read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_corpus(
    folder: Path, train: TextSource, heldout: TextSource | None, text: TextConfig, max_characters: int, facts: dict[str, Any]
) -> None:
    """Read everything once with provisional ids, then renumber by frequency."""
    lexicon = Lexicon(Vocabulary(SPECIAL_WORDS))
    with _ShardWriter(folder / "train.raw") as learned, _ShardWriter(folder / "heldout.raw") as kept:
        for number, document in enumerate(tqdm(read_documents(train, text), desc="reading", unit=" documents", disable=None)):
            keep = heldout is None and number % HELDOUT_EVERY == HELDOUT_EVERY - 1 and kept.tokens < HELDOUT_TOKENS
            (kept if keep else learned).add(document, lexicon.ids)
        if heldout is not None:
            for document in read_documents(heldout, text):
                kept.add(document, lexicon.ids)
    if not learned.tokens:
        raise ValueError(f"--corpus: no text is left to learn from in {train.describe()}")
    if not kept.tokens:
        where = heldout.describe() if heldout else "the corpus, which is too short to keep a hundredth back: give --heldout"
        raise ValueError(f"--heldout: no text to measure on in {where}")
    counts_N = _count(learned.path, len(lexicon.words))
    words = Vocabulary.from_counts(dict(zip(lexicon.words, counts_N.tolist(), strict=True)), min_count=0)
    seen = len(SPECIAL_WORDS) + int((counts_N[len(SPECIAL_WORDS) :] > 0).sum())
    new_id_N = words.ids(lexicon.words).astype(np.int32)
    for name, writer in (("train", learned), ("heldout", kept)):
        _renumber(writer.path, new_id_N, folder / f"{name}.tokens.npy")
        np.save(folder / f"{name}.starts.npy", np.frombuffer(writer.starts, dtype=np.int64))
        writer.path.unlink()
    words.save(folder / "words.txt")
    np.save(folder / "characters.npy", encode_words(words.words, max_characters))
    facts |= {
        "tokens": learned.tokens,
        "sentences": len(learned.starts) - 1,
        "words": len(words),
        "words_of_training": seen,
        "read": asdict(train.counts),
    }
    (folder / "corpus.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


class _ShardWriter:
    """Writes provisional ids as raw int32 and remembers where sentences begin."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts = array("q", [0])
        self.tokens = 0

    def __enter__(self) -> "_ShardWriter":
        self._file = self.path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, document: Document, ids: Callable[[Sequence[str]], NDArray[np.int64]]) -> None:
        """Append the sentences of a document."""
        for sentence in document:
            self.tokens += len(sentence)
            self.starts.append(self.tokens)
            self._file.write(ids(sentence).astype(np.int32).tobytes())


def _count(raw: Path, words: int) -> NDArray[np.int64]:
    """Count how often each provisional id occurs, some millions at a time."""
    ids = np.memmap(raw, dtype=np.int32, mode="r")
    counts_N = np.zeros(words, dtype=np.int64)
    for start in range(0, len(ids), _AT_A_TIME):
        counts_N += np.bincount(ids[start : start + _AT_A_TIME], minlength=words)
    return counts_N


def _renumber(raw: Path, new_id_N: NDArray[np.int32], target: Path) -> None:
    """Map provisional ids to final ones, some millions at a time."""
    old = np.memmap(raw, dtype=np.int32, mode="r") if raw.stat().st_size else np.empty(0, dtype=np.int32)
    new = np.lib.format.open_memmap(target, mode="w+", dtype=np.int32, shape=old.shape)
    for start in range(0, len(old), _AT_A_TIME):
        new[start : start + _AT_A_TIME] = new_id_N[old[start : start + _AT_A_TIME]]
    new.flush()
