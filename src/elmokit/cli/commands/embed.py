"""`elmo embed`: a file of texts → a file of vectors."""

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
    word_cache: int = 20_000,
    workers: int = 1,
    precision: Literal["float32", "bfloat16", "int8"] = "float32",
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
        dtype: How numbers are stored; float16 holds them up to 65,504.
        format: Write finished parts of this format into the folder OUTPUT.
        part_sentences: Texts of a part.
        resume: Go on after the finished parts in OUTPUT.
        batch_tokens: Tokens computed at once: more are faster, up to a point, and take more memory.
        word_cache: Words whose vectors are kept from batch to batch, those used last; 0 for none.
        workers: Processes that compute, each with its share of the cores and with a model of its own in memory.
        precision: Of the arithmetic: "bfloat16" and "int8" are faster and a little less exact.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …
        progress: Show a progress bar and, at the end, a line with the speed; by default on a terminal.
    """
    from elmokit.embedding.workers import crew_of

    # Before PyTorch is imported here, which takes a second or more: workers do it meanwhile.
    with crew_of(workers, "elmokit.embedding.embed") as crew:
        from elmokit.embedding.embed import EmbedOptions, embed_file
        from elmokit.embedding.heap import return_large_blocks

        options = EmbedOptions(
            column=column,
            id_column=id_column,
            tokenizer=tokenizer,
            layers=layers,
            pooling=pooling,
            dtype=dtype,
            batch_tokens=batch_tokens,
            word_cache=word_cache,
            format=format,
            part_sentences=part_sentences,
            resume=resume,
            progress=progress,
        )
        return_large_blocks()
        embed_file(str(input), Path(output), model, options, device, precision, crew)
