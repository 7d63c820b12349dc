"""The reading of a corpus: blocks of text → raw ids on the disk, with a journal of how far it is.

    train.raw, heldout.raw                  provisional ids of all words, int32
    train.starts.raw, heldout.starts.raw    words of each sentence, int32
    words.raw, lengths.raw, hashes.raw      the provisional words (`elmokit.pretraining.growing_words`)
    repeated.npy                            the filter for repeated lines
    journal.json                            how long each of these was when all blocks up to a place were in them

After an interruption the files are cut to what the journal says, and reading goes on from there.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from elmokit.atomic import atomic_path
from elmokit.config import TextConfig
from elmokit.pretraining.blocks import BLOCK_CHARACTERS, Block, Lines, Place, read_blocks
from elmokit.pretraining.growing_words import GrowingWords
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.repeated_lines import RepeatedLines, bits_for
from elmokit.text.files import ReadCounts

HELDOUT_EVERY = 100
"""Without a held-out text of its own, every hundredth document is kept back …"""
HELDOUT_TOKENS = 200_000
"""… until there are so many tokens."""
JOURNAL_SECONDS = 20.0
"""Time between notes of how far reading is: what is done twice at most after an interruption."""
SHARDS = ("train", "heldout")


@dataclass
class Journal:
    """How far reading is."""

    key: str
    """What is read, and how."""
    places: dict[str, list[int]] = field(default_factory=lambda: {name: [0, 0] for name in SHARDS})
    """File and line up to which each source is read."""
    documents: int = 0
    """Documents met in the text to learn from."""
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARDS, 0))
    sentences: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARDS, 0))
    words: int = 0
    """Provisional ids given."""
    nul_lines: int = 0
    repeated_lines: float = 0.0
    filter_bits: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """What was met in the files before the present one."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Of all files, in bytes."""
    finished: bool = False


class CorpusReading:
    """Reads two texts into raw files, from where an earlier reading of the same stopped.

    Args:
        folder: Where the files are.
        key: What is read, and how: an earlier reading of something else is thrown away.
        train: The text to learn from.
        heldout: The text to measure on; None: some documents of `train`.
        text: Tokenizer and normalization.
        workers: Processes that read; None: one a core.
    """

    def __init__(
        self, folder: Path, key: str, train: TextSource, heldout: TextSource | None, text: TextConfig, workers: int | None = None
    ) -> None:
        self.folder, self.train, self.heldout, self.text, self.workers = folder, train, heldout, text, workers
        self.journal = _earlier(folder, key) or _begin(folder, key)
        self.words = GrowingWords(folder, self.journal.words)
        self.repeated = RepeatedLines(bits_for(train.bytes_on_disk()))
        if (folder / "repeated.npy").exists():
            self.repeated.bits = np.load(folder / "repeated.npy")
            self.repeated.set, self.repeated.repeated = self.journal.filter_bits, self.journal.repeated_lines
        self._files = {name: (folder / name).open("ab") for shard in SHARDS for name in _raw_names(shard)}
        self._counts_before: dict[int, ReadCounts] = {}
        self._noted_at = time.monotonic()

    def run(self) -> Journal:
        """Read to the end; give what the last journal says."""
        if not self.journal.finished:
            try:
                for shard, source in (("train", self.train), ("heldout", self.heldout)):
                    if source is not None:
                        self._read(shard, source)
                self.journal.finished = True
                self._note()
            finally:
                for file in self._files.values():
                    file.close()
                self.words.close()
        return self.journal

    def _read(self, shard: str, source: TextSource) -> None:
        """Read one source from where it stopped."""
        self._counts_before = {}
        blocks = self._blocks(source, Place(*self.journal.places[shard]), shard == "heldout")
        total = source.bytes_on_disk()
        description = "reading" if shard == "train" else "reading the held-out text"
        with tqdm(desc=description, total=total, unit="B", unit_scale=True, disable=None, dynamic_ncols=True) as bar:
            for block in read_blocks(blocks, self.text, source.layout, source.language, self.workers):
                self._join(block, source)
                bar.set_postfix_str(f"{self.journal.tokens['train'] / 1e6:,.1f} M words", refresh=False)
                bar.update(source.counts.packed_bytes - bar.n)
                if time.monotonic() - self._noted_at > JOURNAL_SECONDS:
                    self._note()
        self.journal.counts |= {f"{shard}.{name}": number for name, number in asdict(source.counts).items()}

    def _blocks(self, source: TextSource, start: Place, heldout: bool) -> Iterator[Lines]:
        """Put documents together until there is a block of them."""
        documents: list[list[str]] = []
        size = 0
        for number, unit in enumerate(source.units()):
            if number == start.file:
                _set(source.counts, self.journal.counts, "heldout" if heldout else "train")
            self._counts_before[number] = replace(source.counts)
            if number < start.file:
                continue
            place = begin = start.line if number == start.file else 0
            for document, place in unit.documents(begin, source.counts, "skip"):
                documents.append(document)
                size += sum(map(len, document))
                if size >= BLOCK_CHARACTERS:
                    yield Lines(documents, Place(number, place), heldout)
                    documents, size = [], 0
            if documents:  # a block does not reach over the end of a file
                yield Lines(documents, Place(number, place), heldout)
                documents, size = [], 0

    def _join(self, block: Block, source: TextSource) -> None:
        """Give a block's words their ids, and append its sentences where they belong."""
        journal = self.journal
        times = np.bincount(block.ids, minlength=len(block.words))
        ids = self.words.ids(block.words, times)[block.ids]
        kept = self._kept(block)
        for shard, sentences in (("heldout", kept), ("train", ~kept)):
            words = ids[np.repeat(sentences, block.sentences)]
            lengths = block.sentences[sentences]
            for name, content in zip(_raw_names(shard), (words, lengths), strict=True):
                self._files[name].write(content.astype(np.int32).tobytes())
            journal.tokens[shard] += len(words)
            journal.sentences[shard] += len(lengths)
        if not block.heldout:
            self.repeated.add(block.lines)
            journal.nul_lines += block.nul_lines
        shard = "heldout" if block.heldout else "train"
        journal.places[shard] = list(block.end)
        before = asdict(self._counts_before[block.end.file])
        journal.counts |= {f"{shard}.{name}": number for name, number in before.items()}

    def _kept(self, block: Block) -> Any:
        """Which of a block's sentences are for measuring: a mask."""
        if block.heldout:
            return np.ones(len(block.sentences), dtype=bool)
        kept = np.zeros(len(block.documents), dtype=bool)
        if self.heldout is None:
            tokens = np.add.reduceat(block.sentences, np.cumsum(block.documents) - block.documents) if len(kept) else kept
            have = self.journal.tokens["heldout"]
            for number in range(len(kept)):
                due = (self.journal.documents + number) % HELDOUT_EVERY == HELDOUT_EVERY - 1
                if due and have < HELDOUT_TOKENS:
                    kept[number] = True
                    have += int(tokens[number])
        self.journal.documents += len(kept)
        return np.repeat(kept, block.documents)

    def _note(self) -> None:
        """Make what is written sure, then say so."""
        journal = self.journal
        for file in self._files.values():
            file.flush()
        self.words.flush()
        with atomic_path(self.folder / "repeated.npy") as temporary, temporary.open("wb") as file:
            np.save(file, self.repeated.bits)
        journal.words, journal.filter_bits, journal.repeated_lines = self.words.count, self.repeated.set, self.repeated.repeated
        journal.sizes = {name: (self.folder / name).stat().st_size for name in (*self._files, *GrowingWords.FILES)}
        for name in journal.sizes:
            with (self.folder / name).open("rb") as written:
                os.fsync(written.fileno())
        with atomic_path(self.folder / "journal.json") as temporary:
            temporary.write_text(json.dumps(asdict(journal)), encoding="utf-8")
        self._noted_at = time.monotonic()


def _raw_names(shard: str) -> tuple[str, str]:
    """The files of a shard's words and of its sentences' lengths."""
    return f"{shard}.raw", f"{shard}.starts.raw"


def _set(counts: ReadCounts, noted: dict[str, int], shard: str) -> None:
    """Let counting go on from what was noted."""
    for name in asdict(counts):
        setattr(counts, name, noted.get(f"{shard}.{name}", 0))


def _earlier(folder: Path, key: str) -> Journal | None:
    """The journal of an interrupted reading of the same, its files cut to what it says; None if there is none."""
    try:
        journal = Journal(**json.loads((folder / "journal.json").read_text(encoding="utf-8")))
        if journal.key != key or any((folder / name).stat().st_size < size for name, size in journal.sizes.items()):
            return None
    except (OSError, ValueError, TypeError):
        return None
    for name, size in journal.sizes.items():
        os.truncate(folder / name, size)
    return journal


def _begin(folder: Path, key: str) -> Journal:
    """Begin anew, in an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return Journal(key)
