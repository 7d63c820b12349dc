"""A file of texts → a file of vectors, as a stream: memory does not grow with the file.

Texts are taken in chunks of a few batches, sorted and packed within the chunk, and written in the file's order. While a
chunk is computed, in another thread, the one before it is written and the one after it is read and cut into words.

With workers, processes compute: chunks of one file, whose vectors come back here to be written in order; or whole parts,
which they write themselves. Each worker reads the model for itself; what needs no packing lies mapped to the model's file
and so once in memory for all of them (our own folders; HDF5 is read into each). Chunks are cut as without workers.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elmokit.atomic import atomic_path
from elmokit.checkpoints.folder import sha256
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.encoder import SentenceEncoder, keep_vectors
from elmokit.embedding.fingerprint import fingerprint
from elmokit.embedding.heap import return_large_blocks
from elmokit.embedding.layers import Layers, check_layers, pool
from elmokit.embedding.output import Dtype, Embedded, Form
from elmokit.embedding.parts import open_parts, parts_left
from elmokit.embedding.pipeline import Background, in_order
from elmokit.embedding.progress import Progress, Step
from elmokit.embedding.room import room_in
from elmokit.embedding.rows import Row, read_rows
from elmokit.embedding.targets import FORMATS, check_target
from elmokit.embedding.words import PLACES, WordVectors
from elmokit.embedding.workers import Ask, Crew, Handler, Note
from elmokit.kernels.products import Precision
from elmokit.text.batch import chunks
from elmokit.text.tokenizers import Token, get_tokenizer

PART_SENTENCES = 10_000
"""Texts of a part, if nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """What `embed_file` shall do."""

    column: str | None = None
    """Where the texts are, if the input is a table."""
    id_column: str | None = None
    """A column that is kept beside the vectors."""
    tokenizer: str | None = None
    """What cuts texts into words; None for the model's own."""
    layers: Layers | None = None
    """Which layers are kept; None for all, but their mean in `.jsonl`."""
    pooling: Literal["none", "mean"] = "none"
    """Whether each token has a vector, or each text the mean of its tokens'."""
    dtype: Dtype = "float32"
    """How numbers are stored."""
    batch_tokens: int = 8192
    """Tokens computed at once (rows × longest row), marks counted."""
    format: str | None = None
    """The format of parts, if the output is a folder of them."""
    part_sentences: int = PART_SENTENCES
    """Texts of a part."""
    resume: bool = False
    """Whether to go on after finished parts."""
    word_cache: int = PLACES
    """Words whose vectors are kept from batch to batch; 0 for none."""
    progress: bool | None = None
    """Whether a progress bar is shown, and at the end a line with the speed; None: on a terminal."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: Names the option and what it may be.
        """
        for option, minimum in (("batch_tokens", 1), ("part_sentences", 1), ("word_cache", 0)):
            if getattr(self, option) < minimum:
                raise ValueError(f"--{option.replace('_', '-')} must be {minimum} or more, not {getattr(self, option)}")
        if self.part_sentences != PART_SENTENCES and self.format is None:
            raise ValueError("--part-sentences is for parts; give their format with --format")
        for option, known in (("pooling", ("none", "mean")), ("dtype", get_args(Dtype))):
            if getattr(self, option) not in known:
                raise ValueError(f"--{option} must be one of {', '.join(known)}, not {getattr(self, option)!r}")
        if self.tokenizer is not None:
            get_tokenizer(self.tokenizer)


def embed_file(
    source: str,
    target: Path,
    model: str | Path | Elmo,
    options: EmbedOptions,
    device: str = "auto",
    precision: Precision = "float32",
    crew: Crew | None = None,
) -> None:
    """Write the vectors of a file's texts.

    What can be found wrong beforehand is; the target is there complete or not at all.

    Args:
        source: A file as `read_rows` reads it, "-" for lines of standard input.
        target: A file with the suffix of a known format, or a folder for parts.
        model: The model, or where it is.
        options: What to do.
        device: For a model that is yet to be loaded.
        precision: Of its arithmetic, for a model that is yet to be loaded.
        crew: Workers that compute, each with a model of its own, started for this call alone; None: this process does.

    Raises:
        ValueError: Names the file, option or row that is wrong, and the remedy; or a worker was ended by something else.
        OSError: The target cannot be written; names it.
    """
    if crew is not None and isinstance(model, Elmo):
        raise ValueError("workers read the model for themselves: give its name or path")
    kind = check_target(target, source, options.format, options.resume)
    if source == "-" and options.resume:
        raise ValueError("--resume reads the input again from its beginning, which standard input cannot; name a file")
    rows = read_rows(source, options.column, options.id_column)
    texts = None if source == "-" else _count_texts(source, rows)
    elmo = model if isinstance(model, Elmo) else Elmo.from_pretrained(model, device=device, precision=precision)
    job = _Job(elmo, options, kind, target, crew)
    rows = read_rows(source, options.column, options.id_column)
    if crew is not None and not isinstance(model, Elmo):
        room = room_in(target if options.format else target.parent)  # a text's vectors may be too large for memory
        crew.room = lambda size: room((size // 4,))
        threads = max(1, torch.get_num_threads() // crew.count)
        crew.begin(partial(_make_handler, model, device, precision, options, kind, target, threads))
    with Progress(texts, options.progress) as progress, _naming(target):
        job.advance = progress.advance
        if options.format is None:
            with atomic_path(target) as path:
                job.write(path, rows)
                if not progress.total.tokens:
                    raise ValueError(f"{source}: no word in it, there is nothing to embed")
        else:
            digest = None if source == "-" else sha256(Path(source))
            finished = open_parts(target, {"input_sha256": digest, **job.settings()}, kind)
            progress.bar.update(min(finished * options.part_sentences, texts or 0))
            _write_parts(job, parts_left(target, kind, rows, options.part_sentences))


class _Chunk(NamedTuple):
    """Texts that are sorted together."""

    texts: list[tuple[Row, list[Token]]]
    """In the order of the input, with their tokens."""
    words: list[list[str]]
    """Of each text, in the form which the model reads."""


Computed = tuple[list[NDArray[np.float32]], Step]
"""The vectors of a chunk's texts, and what they add to the count."""


class _Job:
    """A model at work on one input, here or in a worker.

    Args:
        elmo: The model.
        options: What to do.
        kind: The format that is written.
        target: Where the file or folder will be.
        crew: What computes vectors in place of this process.
        apart: Whether each text's vectors lie by themselves, to be sent elsewhere, rather than where their batch has them.
    """

    def __init__(
        self, elmo: Elmo, options: EmbedOptions, kind: str, target: Path, crew: Crew | None = None, apart: bool = False
    ) -> None:
        self.elmo, self.options, self.kind, self.crew = elmo, options, kind, crew
        self.layers: Layers = options.layers if options.layers is not None else "mean" if kind == "jsonl" else "all"
        check_layers(self.layers, elmo.num_layers)
        self.tokenizer = options.tokenizer or elmo.config.text.tokenizer
        self.tokenize = get_tokenizer(self.tokenizer)
        self.read_forms = elmo.collate.read_forms
        pooled = options.pooling == "mean"
        self.encoder = SentenceEncoder(
            WordVectors(elmo.engine, elmo.reader, options.word_cache),
            layers=self.layers,
            batch_tokens=options.batch_tokens,
            finish=_pooled if pooled else keep_vectors if apart else _uncopied,
            room=room_in(target if options.format else target.parent),
        )
        self.open_writer = FORMATS[kind]
        layers, ids = elmo.num_layers if self.layers == "all" else None, options.id_column is not None
        self.form = Form(elmo.dim, layers, pooled, options.dtype, ids)
        self.advance: Callable[[Step], object] = lambda step: None
        """Called after each chunk."""

    def settings(self) -> dict[str, Any]:
        """Give all that the contents of parts depend on."""
        kept = ("column", "id_column", "pooling", "dtype", "part_sentences")
        return {
            "model": fingerprint(self.elmo.bilm).hex(),
            "precision": self.elmo.engine.precision,
            "tokenizer": self.tokenizer,
            "format": self.kind,
            "layers": self.layers,
            **{name: getattr(self.options, name) for name in kept},
        }

    def write(self, path: Path, rows: Iterable[Row]) -> None:
        """Write the vectors of rows into one new file."""
        ahead = 1 if self.crew is None else self.crew.count
        with self.open_writer(path, self.form) as write, self._computing() as submit:
            for chunk, (vectors, step) in in_order(self._chunks(rows), submit, ahead):
                vectors.reverse()
                for row, tokens in chunk.texts:
                    write(Embedded(row, tokens, vectors.pop()))  # so each is dropped once it is written
                self.advance(step)

    @contextmanager
    def _computing(self) -> Iterator[Callable[[_Chunk], Future[Computed]]]:
        """Give what has chunks computed: by workers, or by another thread."""
        with Background() if self.crew is None else nullcontext(self.crew) as others:
            if isinstance(others, Crew):
                yield lambda chunk: others.run(lambda ask: ask(chunk.words))
            else:
                yield lambda chunk: others.submit(lambda: self.compute(chunk.words))

    def compute(self, words: list[list[str]]) -> Computed:
        """Give the vectors of a chunk's texts."""
        table = self.encoder.word_vectors
        asked, hits = table.asked, table.hits
        vectors = [x_ND.numpy() for x_ND in self.encoder(words)]
        prepared = self.elmo.engine.preparing_s
        return vectors, Step(len(words), sum(map(len, words)), table.asked - asked, table.hits - hits, prepared)

    def _chunks(self, rows: Iterable[Row]) -> Iterator[_Chunk]:
        """Cut texts into words, and gather as many as are sorted together."""
        cut = ((row, self.tokenize(row.text)) for row in rows)
        for texts in chunks(cut, lambda text: len(text[1]) + 2, self.options.batch_tokens):
            yield _Chunk(texts, self.read_forms([token.text for token in tokens] for _, tokens in texts))


def _write_parts(job: _Job, parts: Iterator[tuple[Path, Iterator[Row]]]) -> None:
    """Write parts: here one after the other, or each in a worker."""
    crew = job.crew
    if crew is None:
        for path, rows in parts:
            with atomic_path(path) as temporary:
                job.write(temporary, rows)
        return
    crew.note = job.advance
    whole = ((path, list(rows)) for path, rows in parts)
    for _ in in_order(whole, lambda part: crew.run(partial(_have_written, *part)), crew.count):
        pass


def _have_written(path: Path, rows: list[Row], ask: Ask) -> None:
    """Have a worker write a part; what it leaves if it is killed is removed here."""
    with atomic_path(path) as temporary:
        ask((temporary, rows))


def _make_handler(
    model: str | Path,
    device: str,
    precision: Precision,
    options: EmbedOptions,
    kind: str,
    target: Path,
    threads: int,
) -> Handler:
    """Make what a worker does, there: words → their vectors, or the path and rows of a part → the part."""
    torch.set_num_threads(threads)
    return_large_blocks()
    # What had to be fetched was, by the process that started this one.
    elmo = Elmo.from_pretrained(model, device=device, precision=precision, local_files_only=True)
    job = _Job(elmo, options, kind, target, apart=options.format is None)

    def handle(task: Any, note: Note) -> Computed | None:
        if options.format is None:
            return job.compute(task)
        job.advance = note
        job.write(*task)
        return None

    return handle


def _pooled(_: int, x_ND: Tensor) -> Tensor:
    """Keep the mean of a text's tokens."""
    return pool(x_ND, "mean")


def _uncopied(_: int, x_ND: Tensor) -> Tensor:
    """Keep a text's vectors where its batch has them: all are written and dropped together."""
    return x_ND


def _count_texts(source: str, rows: Iterable[Row]) -> int:
    """Read the whole input once, so that a bad line stops the work before it begins, and the end is in sight.

    Raises:
        ValueError: There is no word in it.
    """
    texts, filled = 0, 0
    for row in rows:
        texts += 1
        filled += bool(row.text.strip())
    if not filled:
        raise ValueError(f"{source}: {'no word in it' if texts else 'is empty'}, there is nothing to embed")
    return texts


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Let errors of the file system say which file they are about: libraries leave it out."""
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, os.strerror(number), str(target)) from error
