"""What measurements that take long share: rows that are kept as soon as they are there, processes of their own, tables."""

import json
import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn, ParamSpec

from elmokit.atomic import atomic_path
from elmokit.deploy.bench import machine

Given = ParamSpec("Given")
Row = dict[str, Any]
"""What was measured, by name; all of it fits into JSON."""

LOOK_SECONDS = 0.05
"""Time between looks at a process that measures."""


class Kept:
    """Rows in a JSON file, each beside what was asked for: what stands there is not measured again.

    Args:
        path: The file; rows of an earlier call stay in it. None: nothing is kept.

    Raises:
        ValueError: The file holds something else.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, Row]] = []
        if path is not None and path.exists():
            try:
                self.rows = list(json.loads(path.read_text(encoding="utf-8"))["rows"])
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"--json {path}: holds no rows of an earlier call ({error}); give another file") from error

    def row(self, asked: Row, measure: Callable[[], Row]) -> Row:
        """Give what an earlier call measured; else measure it now, and keep it.

        Args:
            asked: What tells this row from all others.
            measure: Measures it.
        """
        asked = json.loads(json.dumps(asked))  # as it will be read again: tuples are lists there
        for row in self.rows:
            if row["asked"] == asked:
                return row["found"]
        self.rows.append({"asked": asked, "found": measure()})
        if self.path is not None:
            write_json(self.path, {"machine": machine(), "rows": self.rows})
        return self.rows[-1]["found"]


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def apart(function: Callable[..., Row], *arguments: Any, watch: Callable[[int], None] | None = None) -> Row:
    """Call a module's function in a process of its own, and give its answer.

    Args:
        function: What measures.
        arguments: What it is given.
        watch: Is told the number of the process again and again while it runs.

    Raises:
        ValueError: As there; or the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        while process.is_alive():
            if watch is not None and process.pid is not None:
                watch(process.pid)
            process.join(LOOK_SECONDS)
        answer: Row | ValueError = receiver.recv()
    except EOFError:
        process.join()
        said = f"the process that measured ended with status {process.exitcode}"
        raise ValueError(f"{said}; the system does so (-9) when memory runs out") from None
    except BaseException:  # an interrupt: what nobody waits for any more must not go on
        process.terminate()
        process.join()
        raise
    if isinstance(answer, ValueError):
        raise answer
    return answer


def _answer(sender: "Connection[Any, Any]", function: Callable[..., Row], arguments: tuple[Any, ...]) -> None:
    """Measure, there."""
    try:
        sender.send(function(*arguments))
    except ValueError as error:
        sender.send(error)


def one_line_errors(main: Callable[Given, None]) -> Callable[Given, int]:
    """Let a program give its exit status: 2, and a line on stderr, if something could not be read, trained or measured."""

    @wraps(main)
    def run(*arguments: Given.args, **options: Given.kwargs) -> int:
        try:
            main(*arguments, **options)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    return run


def start(main: Callable[[], int]) -> NoReturn:
    """Run a program; SIGTERM ends it as an interrupt does, so that the processes that it has started end too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())


def about_file(path: Path) -> list[Any]:
    """Say what must be unchanged for a row to hold: a file's name and size.

    Raises:
        ValueError: There is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path")
    return [path.name, path.stat().st_size]


def as_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in Markdown: the first column to the left, numbers to the right."""
    cells = [heads, *rows]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |" for row in cells]
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
