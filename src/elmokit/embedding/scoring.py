"""A file of texts → a file of what the language model says of each word, as a stream.

TSV has a line for each target: `row, position, token, start, end, unknown, forward_surprisal, backward_surprisal`. A row's
words stand at the positions 0 to n − 1; `<S>`, at −1, has a backward value alone, `</S>`, at n, a forward one. JSON lines
have one object for each text, with the same values as lists: n + 1 forward, of w1 … wn `</S>`, and n + 1 backward, of
`<S>` w1 … wn. A model that reads forward alone has no backward value: its column and its lists are empty. Places are in
characters of the text. Numbers have as many digits as it takes to read back the same float32.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, get_args

from elmokit.atomic import atomic_text
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.rows import Row, read_rows
from elmokit.embedding.targets import check_plain_target
from elmokit.lm.score import Score, Scorer, Unit
from elmokit.text.batch import chunks
from elmokit.text.tokenizers import Token, get_tokenizer
from elmokit.text.vocabulary import BOS, EOS

Format = Literal["tsv", "jsonl"]
COLUMNS = ("row", "position", "token", "start", "end", "unknown", "forward_surprisal", "backward_surprisal")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """What `score_file` shall do."""

    format: Format | None = None
    """Of the output; None: by its name, TSV on standard output."""
    unit: Unit = "nats"
    """Of the surprisals."""
    column: str | None = None
    """Where the texts are, if the input is a table."""
    tokenizer: str | None = None
    """What cuts texts into words; None for the model's own."""
    carry_state: bool = False
    """Whether the texts are read as one stream, as `elmo perplexity` does."""
    batch_tokens: int = 8192
    """Words and marks computed at once."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: Names the option and what it may be.
        """
        for option, value, known in (("format", self.format, (None, *get_args(Format))), ("unit", self.unit, get_args(Unit))):
            if value not in known:
                raise ValueError(f"--{option} must be one of {', '.join(filter(None, known))}, not {value!r}")
        if self.batch_tokens < 1:
            raise ValueError(f"--batch-tokens must be 1 or more, not {self.batch_tokens}")
        if self.tokenizer is not None:
            get_tokenizer(self.tokenizer)


def score_file(source: str, target: str, model: str | Path | Elmo, options: ScoreOptions, device: str = "auto") -> None:
    """Write the surprisal of every word of a file's texts.

    Args:
        source: A file as `read_rows` reads it, "-" for lines of standard input.
        target: A file, which is complete or not there, or "-" for standard output.
        model: The model, or where it is.
        options: What to do.
        device: For a model that is yet to be loaded.

    Raises:
        ValueError: The model has no language-model head; or names the file, option or row that is wrong.
    """
    write_record = _record_writer(target, options)
    if target != "-":
        check_plain_target(Path(target), [source])
    rows = read_rows(source, options.column)
    elmo = model if isinstance(model, Elmo) else Elmo.from_pretrained(model, device=device)
    scorer = Scorer(
        elmo.language_model,
        elmo.vocabulary,
        elmo.reader,
        batch_tokens=options.batch_tokens,
        carry_state=options.carry_state,
    )
    tokenize = get_tokenizer(options.tokenizer or elmo.config.text.tokenizer)
    texts = ((row, tokenize(row.text)) for row in rows)
    tokens_read = 0
    with atomic_text(target) as file:
        if write_record is _write_tsv:
            file.write("\t".join(COLUMNS) + "\n")
        for chunk in chunks(texts, lambda text: len(text[1]) + 1, options.batch_tokens):
            words = elmo.collate.read_forms([token.text for token in tokens] for _, tokens in chunk)
            filled = [sentence for sentence in words if sentence]  # a text without a word is no sentence
            tokens_read += sum(map(len, filled))
            scores = iter(scorer(filled))
            for row, tokens in chunk:
                write_record(file, row, tokens, next(scores) if tokens else None, options.unit)
        if not tokens_read:
            raise ValueError(f"{source}: no word in it, there is nothing to score")


WriteRecord = Callable[[IO[str], Row, list[Token], Score | None, Unit], None]


def _record_writer(target: str, options: ScoreOptions) -> WriteRecord:
    """What writes one text's scores, by the format asked for or the target's name."""
    suffix = Path(target).suffix.lower().removeprefix(".")
    form = options.format or ("tsv" if target == "-" else suffix)
    if form not in get_args(Format):
        raise ValueError(f"{target}: unknown extension; the output ends in .tsv or .jsonl, is - (TSV), or has a --format")
    return _write_tsv if form == "tsv" else _write_jsonl


def _write_tsv(file: IO[str], row: Row, tokens: list[Token], score: Score | None, unit: Unit) -> None:
    """Write a line for each target."""
    if score is None:
        return
    end = len(row.text)
    places = [Token(BOS, 0, 0), *tokens, Token(EOS, end, end)]
    surprisal = score.surprisal(unit)
    forward = ["", *map(_number, surprisal.forward)]
    backward = [*map(_number, surprisal.backward), ""] if len(surprisal.backward) else [""] * len(places)
    unknown = ["false", *("true" if u else "false" for u in score.unknown), "false"]
    for position, (token, *values) in enumerate(zip(places, unknown, forward, backward, strict=True), -1):
        file.write("\t".join([str(row.number), str(position), token.text, str(token.start), str(token.end), *values]) + "\n")


def _write_jsonl(file: IO[str], row: Row, tokens: list[Token], score: Score | None, unit: Unit) -> None:
    """Write an object for a text; its lists are empty if it has no word."""
    surprisal = score and score.surprisal(unit)
    record = {
        "row": row.number,
        "tokens": [token.text for token in tokens],
        "start": [token.start for token in tokens],
        "end": [token.end for token in tokens],
        "unknown": score.unknown.tolist() if score else [],
        "unit": unit,
        "forward_surprisal": [float(_number(x)) for x in surprisal.forward] if surprisal else [],
        "backward_surprisal": [float(_number(x)) for x in surprisal.backward] if surprisal else [],
    }
    file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _number(value: float) -> str:
    return f"{value:.9g}"
