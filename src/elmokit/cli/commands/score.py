"""`elmo score`: what the language model says of each word of a text."""

from typing import Literal

from elmokit.cli.parameters import FileOrStdin, PathOrName


def score(
    input: FileOrStdin,
    output: FileOrStdin = "-",
    *,
    model: PathOrName = "en-small",
    unit: Literal["nats", "bits"] = "nats",
    format: Literal["tsv", "jsonl"] | None = None,
    column: str | None = None,
    tokenizer: str | None = None,
    carry_state: bool = False,
    batch_tokens: int = 8192,
    device: str = "auto",
) -> None:
    """Tell how unexpected each word of a text is, from the words before it and from those behind it.

    The values are surprisals, −log p by the full softmax. The sentence's end counts forward, its beginning backward;
    words outside the vocabulary are scored as `<UNK>` and marked. OUTPUT is complete or not there.

    Args:
        input: A text file, one sentence a line, or "-" for standard input; or .csv, .tsv, .jsonl or .parquet with --column.
            .gz, .xz and .zst are unpacked.
        output: A file .tsv (a line for each word) or .jsonl (a line for each sentence), or "-" for standard output.
        model: A model with its language-model head: a bundled name, a model folder, a training folder of bilm-tf.
        unit: Of the surprisals: nats (natural logarithm) or bits (to base 2).
        format: Of OUTPUT, if its name does not tell; on standard output tsv.
        column: The column of texts, if INPUT is a table.
        tokenizer: What cuts texts into words, "whitespace" for text that is split already; by default the model's.
        carry_state: Read all sentences as one stream, as `elmo perplexity` does; by default each is scored by itself.
        batch_tokens: Words computed at once.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …

    Raises:
        ValueError: The model has no language-model head; an option or the text is wrong.
    """
    from elmokit.embedding.scoring import ScoreOptions, score_file

    options = ScoreOptions(
        unit=unit, format=format, column=column, tokenizer=tokenizer, carry_state=carry_state, batch_tokens=batch_tokens
    )
    score_file(str(input), str(output), model, options, device)
