"""`elmo bench`: speed on this machine, beside the floor set by its matrix products."""

import json as json_module
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter

from elmokit.cli.parameters import FileOrStdin, PathOrName

if TYPE_CHECKING:
    from elmokit.deploy.bench import Found
    from elmokit.deploy.measure import Job

Precision = Literal["float32", "bfloat16", "int8"]
SINGLE = 200  # sentences that are also run one at a time

NOTES = """
of its floor  the time of the run's matrix products alone, divided by the run's; of float32's: of the same products in float32
words, LSTM   shares of the time: the network that makes words' vectors, the recurrence; rest: all else
prepare       laying out the weights, once, at the first call that is worth it; tokens/s are without it
peak          of the process: imports, model, both ways of running"""


def bench(
    *,
    model: PathOrName = "en-small",
    text: FileOrStdin | None = None,
    precision: Annotated[Sequence[Precision], Parameter(consume_multiple=True)] = ("float32", "bfloat16", "int8"),
    threads: Annotated[Sequence[int] | None, Parameter(consume_multiple=True)] = None,
    sentences: int = 1000,
    tokenizer: str | None = None,
    repeats: int = 3,
    device: str = "auto",
    json: PathOrName | None = None,
    plot: PathOrName | None = None,
) -> None:
    """Measure how fast a model makes vectors on this machine: tokens a second, latency, start-up, memory.

    Every precision and number of threads is measured in a fresh process, one after the other; close what else runs. Beside
    each speed stands the share of its floor: the matrix products which the run performed, performed again alone.

    Args:
        model: A bundled or published name, or a folder, archive or file of any known format.
        text: A text file, one sentence a line, or "-" for standard input; by default the sentences that `elmo demo` shows.
        precision: Of the arithmetic; one or more. What the device does not have is left out.
        threads: Of PyTorch; one or more numbers. By default what PyTorch takes by itself.
        sentences: At most so many of the text; the first 200 of them are also run one at a time.
        tokenizer: What cuts texts into words, "whitespace" for text that is split already; by default the model's.
        repeats: Passes over the text, of which the best one counts.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …
        json: A file for all that was measured.
        plot: A file .png, .svg or .pdf for a drawing; needs matplotlib, the extra `report`.

    Raises:
        ValueError: An option is wrong, the text has no words, or the model cannot be had.
        MissingExtraError: A plot is asked for, and matplotlib is not installed.
    """
    from elmokit.deploy.bench import draw, machine, tables
    from elmokit.deploy.measure import Job

    _check_numbers({"--sentences": [sentences], "--repeats": [repeats], "--threads": threads or []})
    if not precision or not set(precision) <= set(get_args(Precision)):
        raise ValueError(f"--precision takes one or more of {', '.join(get_args(Precision))}, in Python as a list")
    _check_files(tokenizer, json, plot)
    texts = list(islice(_lines(text), sentences))
    if not texts:
        raise ValueError(f"{text}: holds no text to measure with; check the file")
    numbers: Sequence[int | None] = threads or [None]
    jobs = [
        Job(str(model), each, texts, n, tokenizer, device, SINGLE, repeats)
        for n in dict.fromkeys(numbers)
        for each in dict.fromkeys(precision)
    ]
    found = list(_measure(jobs))
    title = f"{model}, {found[0]['batch']['tokens']:,} tokens, {machine()['processor']}, {found[0]['device']}"
    print(f"{title}\n\n{tables(found)}\n{NOTES}")
    if json is not None:
        _write_json(Path(json), {"model": str(model), "machine": machine(), "measured": found})
    if plot is not None:
        draw(Path(plot), title, found)


def _check_numbers(given: dict[str, Iterable[int]]) -> None:
    """Refuse what is below 1."""
    for option, numbers in given.items():
        for number in numbers:
            if number < 1:
                raise ValueError(f"{option} must be 1 or more, not {number}")


def _check_files(tokenizer: str | None, json: PathOrName | None, plot: PathOrName | None) -> None:
    """Refuse a tokenizer and outputs that cannot be, before any work."""
    from elmokit.report.bars import check_drawing
    from elmokit.text.tokenizers import get_tokenizer

    if tokenizer is not None:
        get_tokenizer(tokenizer)
    for path in (json, plot):
        if path is not None and Path(path).is_dir():
            raise ValueError(f"{path}: is a folder; name a file for the output")
    if plot is not None:
        check_drawing(Path(plot), "--plot")


def _lines(text: FileOrStdin | None) -> Iterator[str]:
    """The sentences of a file, or those of `elmo demo`."""
    from elmokit.explore.uses import read_uses
    from elmokit.text.files import read_lines

    lines = (use.text for use in read_uses()) if text is None else read_lines(text)
    return (line for line in lines if line.strip())


def _measure(jobs: "Sequence[Job]") -> "Iterator[Found]":
    """Measure one after the other. What fails is left out, and it is said; where all fail, the first error is raised."""
    from elmokit.deploy.bench import in_fresh_process

    failed: list[tuple[str, ValueError]] = []
    for number, job in enumerate(jobs):
        if sys.stderr.isatty():
            print(f"measuring {job.precision} ({number + 1} of {len(jobs)}) …", file=sys.stderr)
        try:
            yield in_fresh_process(job)
        except ValueError as error:
            failed.append((job.precision, error))
    if len(failed) == len(jobs):
        raise failed[0][1]
    for precision, why in failed:
        print(f"elmo: {precision} is left out: {why}", file=sys.stderr)


def _write_json(path: Path, report: object) -> None:
    """Write all figures."""
    from elmokit.atomic import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(json_module.dumps(report, indent=1) + "\n", encoding="utf-8")
