"""A file of texts → a file of vectors, as a stream: memory does not grow with the file.

Texts are taken in chunks of a few batches, sorted and packed within the chunk, and written in the file's order.
"""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor
from tqdm import tqdm

from elmokit.atomic import atomic_path
from elmokit.checkpoints.folder import sha256
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.encoder import SentenceEncoder
from elmokit.embedding.fingerprint import fingerprint
from elmokit.embedding.layers import Layers, check_layers, pool
from elmokit.embedding.output import Dtype, Embedded, Form
from elmokit.embedding.parts import open_parts, write_parts
from elmokit.embedding.room import room_in
from elmokit.embedding.rows import Row, read_rows
from elmokit.embedding.targets import FORMATS, check_target
from elmokit.text.tokenizers import Token, get_tokenizer

CHUNK_BATCHES = 4
"""Batches that are sorted together: more of them pad less and take more memory."""

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
    progress: bool | None = None
    """Whether a progress bar is shown; None: on a terminal."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: Names the option and what it may be.
        """
        for option, minimum in (("batch_tokens", 1), ("part_sentences", 1)):
            if getattr(self, option) < minimum:
                raise ValueError(f"--{option.replace('_', '-')} must be {minimum} or more, not {getattr(self, option)}")
        if self.part_sentences != PART_SENTENCES and self.format is None:
            raise ValueError("--part-sentences is for parts; give their format with --format")
        for option, known in (("pooling", ("none", "mean")), ("dtype", get_args(Dtype))):
            if getattr(self, option) not in known:
                raise ValueError(f"--{option} must be one of {', '.join(known)}, not {getattr(self, option)!r}")
        if self.tokenizer is not None:
            get_tokenizer(self.tokenizer)


def embed_file(source: str, target: Path, model: str | Path | Elmo, options: EmbedOptions, device: str = "auto") -> None:
    """Write the vectors of a file's texts.

    What can be found wrong beforehand is; the target is there complete or not at all.

    Args:
        source: A file as `read_rows` reads it, "-" for lines of standard input.
        target: A file with the suffix of a known format, or a folder for parts.
        model: The model, or where it is.
        options: What to do.
        device: For a model that is yet to be loaded.

    Raises:
        ValueError: Names the file, option or row that is wrong, and the remedy.
        OSError: The target cannot be written; names it.
    """
    kind = check_target(target, source, options.format, options.resume)
    if source == "-" and options.resume:
        raise ValueError("--resume reads the input again from its beginning, which standard input cannot; name a file")
    rows = read_rows(source, options.column, options.id_column)
    texts = None if source == "-" else _count_texts(source, rows)
    elmo = model if isinstance(model, Elmo) else Elmo.from_pretrained(model, device=device)
    job = _Job(elmo, options, kind, target, texts)
    rows = read_rows(source, options.column, options.id_column)
    with _naming(target), job.bar:
        if options.format is None:
            with atomic_path(target) as path:
                job.write(path, rows)
                if not job.tokens:
                    raise ValueError(f"{source}: no word in it, there is nothing to embed")
        else:
            digest = None if source == "-" else sha256(Path(source))
            finished = open_parts(target, {"input_sha256": digest, **job.settings}, kind)
            job.bar.update(min(finished * options.part_sentences, texts or 0))
            write_parts(target, kind, rows, options.part_sentences, finished, job.write)


class _Job:
    """A model at work on one input."""

    def __init__(self, elmo: Elmo, options: EmbedOptions, kind: str, target: Path, texts: int | None) -> None:
        self.layers: Layers = options.layers if options.layers is not None else "mean" if kind == "jsonl" else "all"
        check_layers(self.layers, elmo.num_layers)
        self.pooled = options.pooling == "mean"
        self.tokenizer = options.tokenizer or elmo.config.text.tokenizer
        self.tokenize = get_tokenizer(self.tokenizer)
        self.read_forms = elmo.collate.read_forms
        self.encoder = SentenceEncoder(
            elmo.engine,
            elmo.reader,
            layers=self.layers,
            batch_tokens=options.batch_tokens,
            finish=_pooled if self.pooled else _uncopied,
            room=room_in(target if options.format else target.parent),
        )
        self.chunk_tokens = CHUNK_BATCHES * options.batch_tokens
        self.open_writer = FORMATS[kind]
        layers, ids = elmo.num_layers if self.layers == "all" else None, options.id_column is not None
        self.form = Form(elmo.dim, layers, self.pooled, options.dtype, ids)
        self.settings: dict[str, Any] = {
            "model": fingerprint(elmo.bilm).hex(),
            "column": options.column,
            "id_column": options.id_column,
            "tokenizer": self.tokenizer,
            "format": kind,
            "layers": self.layers,
            "pooling": options.pooling,
            "dtype": options.dtype,
            "part_sentences": options.part_sentences,
        }
        shown = sys.stderr.isatty() if options.progress is None else options.progress
        self.bar = tqdm(total=texts, unit=" texts", disable=not shown)
        self.tokens = 0

    def write(self, path: Path, rows: Iterable[Row]) -> None:
        """Write the vectors of rows into one new file."""
        with self.open_writer(path, self.form) as write:
            for chunk in self._chunks(rows):
                words = self.read_forms([token.text for token in tokens] for _, tokens in chunk)
                for (row, tokens), vectors in zip(chunk, self.encoder(words), strict=True):
                    write(Embedded(row, tokens, vectors.numpy()))
                self.tokens += sum(map(len, words))
                self.bar.set_postfix(tokens=self.tokens, refresh=False)
                self.bar.update(len(chunk))

    def _chunks(self, rows: Iterable[Row]) -> Iterator[list[tuple[Row, list[Token]]]]:
        """Cut texts into words, and gather as many as are sorted together."""
        chunk: list[tuple[Row, list[Token]]] = []
        gathered = 0
        for row in rows:
            tokens = self.tokenize(row.text)
            chunk.append((row, tokens))
            gathered += len(tokens) + 2
            if gathered >= self.chunk_tokens:
                yield chunk
                chunk, gathered = [], 0
        if chunk:
            yield chunk


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
