"""Lines of a corpus → word ids of their own, in processes side by side: what needs no knowledge of the rest of the text."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elmokit.config import TextConfig
from elmokit.embedding.workers import Ask, Crew, Handler
from elmokit.pretraining.reading import Layout, sentence_reader

BLOCK_CHARACTERS = 1 << 20
"""Text of a block, about: a second's work, so that little is done twice after an interruption."""
WORKERS_AT_MOST = 16
"""More than these cannot be kept busy by one process that unpacks and joins."""


class Place(NamedTuple):
    """Where reading stands: so many lines of this file are read, and all files before it."""

    file: int
    line: int


class Lines(NamedTuple):
    """Documents that one worker reads together."""

    documents: list[list[str]]
    """Lines of each, none of them empty."""
    end: Place
    """Where reading goes on after them."""
    heldout: bool
    """Whether they are of the text to measure on."""


@dataclass
class Block:
    """What a worker makes of them."""

    words: list[str]
    """Every distinct word, in the order met."""
    ids: NDArray[np.int32]
    """The words of all sentences, as places in `words`."""
    sentences: NDArray[np.int32]
    """Words of each sentence."""
    documents: NDArray[np.int32]
    """Sentences of each document that has any."""
    lines: NDArray[np.uint64]
    """A hash of each line."""
    nul_lines: int
    """Lines with NUL characters, which are taken out."""
    end: Place
    heldout: bool


def read_block(lines: Lines, text: TextConfig, layout: Layout, language: str) -> Block:
    """Split and tokenize some documents."""
    read = sentence_reader(text, layout, language)
    number_of: dict[str, int] = {}
    ids: list[int] = []
    sentences: list[int] = []
    documents: list[int] = []
    nul_lines = 0
    for document in lines.documents:
        before = len(sentences)
        for line in document:
            if "\0" in line:
                nul_lines += 1
                line = line.replace("\0", "")
            for words in read(line):
                sentences.append(len(words))
                ids.extend([number_of.setdefault(word, len(number_of)) for word in words])
        if len(sentences) > before:
            documents.append(len(sentences) - before)
    return Block(
        words=list(number_of),
        ids=np.array(ids, dtype=np.int32),
        sentences=np.array(sentences, dtype=np.int32),
        documents=np.array(documents, dtype=np.int32),
        lines=np.frombuffer(b"".join(map(_hash, chain.from_iterable(lines.documents))), dtype=np.uint64),
        nul_lines=nul_lines,
        end=lines.end,
        heldout=lines.heldout,
    )


def read_blocks(
    blocks: Iterable[Lines], text: TextConfig, layout: Layout, language: str, workers: int | None = None
) -> Iterator[Block]:
    """Give the blocks in their order, read side by side.

    Args:
        blocks: Documents.
        text: Tokenizer and normalization.
        layout: How lines are laid out.
        language: Whose rules split running text.
        workers: Processes; None: one a core. A text of one block is read in this process, as all are with 1.
    """
    work = partial(read_block, text=text, layout=layout, language=language)
    rest = iter(blocks)
    ahead = list(islice(rest, 2))
    if workers is None:
        workers = min(os.cpu_count() or 1, WORKERS_AT_MOST)
    if workers == 1 or len(ahead) < 2:
        yield from map(work, chain(ahead, rest))
        return
    yield from _side_by_side(work, chain(ahead, rest), workers)


def _side_by_side(work: Callable[[Lines], Block], blocks: Iterator[Lines], workers: int) -> Iterator[Block]:
    """Keep a few blocks for each worker on the way."""
    with Crew(workers, __name__) as crew:
        crew.begin(partial(_handler, work))
        waiting: deque[Future[Block]] = deque()
        for block in blocks:
            waiting.append(crew.run(partial(_asked, block)))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _handler(work: Callable[[Lines], Block]) -> Handler:
    """Make what a worker does with a task."""
    return lambda task, note: work(task)


def _asked(block: Lines, ask: Ask) -> Block:
    """Have a worker read a block."""
    read: Block = ask(block)
    return read


def _hash(line: str) -> bytes:
    """Eight bytes that differ for different lines, but for one in 2^64."""
    return blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest()
