"""`elmo embed`: a file of texts → a file of vectors."""

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Literal

from elmokit.cli.parameters import FileOrStdin, PathOrName


def embed(
    input: FileOrStdin,
    output: PathOrName,
    *,
    model: PathOrName = "en-small",
    column: str | None = None,
    id_column: str | None = None,
    tokenizer: str | None = None,
    layers: int | Literal["mean", "top", "all"] | None = None,
    pooling: Literal["none", "mean"] = "none",
    dtype: Literal["float32", "float16"] = "float32",
    format: Literal["h5", "parquet", "jsonl"] | None = None,
    part_sentences: int = 10_000,
    resume: bool = False,
    batch_tokens: int = 8192,
    device: str = "auto",
    progress: bool | None = None,
) -> None:
    """Turn the texts of a file into context vectors, written as a stream.

    OUTPUT is complete or not there: an older file of that name is replaced in one step at the end.

    Args:
        input: A text file, one sentence a line, or "-" for standard input; or .csv, .tsv, .jsonl or .parquet with --column.
            .gz, .xz and .zst are unpacked.
        output: A file .h5 (AllenNLP's layout), .parquet (one row a token) or .jsonl; or a folder, with --format.
        model: A bundled or published name, or a folder, archive or file of any known format.
        column: The column of texts, if INPUT is a table.
        id_column: A column to keep beside the vectors: `id` in .parquet and .jsonl, in .h5 the attribute `id` of each dataset.
        tokenizer: What cuts texts into words, "whitespace" for text that is split already; by default the model's.
        layers: Their mean, the top one, all, or one by number (0: the word vectors). By default all, in .jsonl the mean.
        pooling: "mean" gives each text one vector, the mean of its tokens'.
        dtype: How numbers are stored.
        format: Write finished parts of this format into the folder OUTPUT.
        part_sentences: Texts of a part.
        resume: Go on after the finished parts in OUTPUT.
        batch_tokens: Tokens computed at once: more are faster, up to a point, and take more memory.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …
        progress: Show a progress bar; by default on a terminal.
    """
    from elmokit.embedding.embed import EmbedOptions, embed_file

    options = EmbedOptions(
        column=column,
        id_column=id_column,
        tokenizer=tokenizer,
        layers=layers,
        pooling=pooling,
        dtype=dtype,
        batch_tokens=batch_tokens,
        format=format,
        part_sentences=part_sentences,
        resume=resume,
        progress=progress,
    )
    _return_large_blocks()
    embed_file(str(input), Path(output), model, options, device)


def _return_large_blocks() -> None:
    """Let the C library give blocks above 4 MiB back to the system as soon as they are free.

    glibc raises that threshold with each large block freed, up to 32 MiB, and then keeps such blocks in a heap that
    breaks into ever smaller pieces: over a million tokens peak memory grew by a fifth.
    """
    mmap_threshold = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
    with suppress(AttributeError, OSError, TypeError):  # another C library: it has no such setting
        ctypes.CDLL(None).mallopt(mmap_threshold, 4 << 20)
