"""Vectors as JSON lines: `{"tokens": […], "vectors": [[…], …]}`, a line for each text.

With all layers `vectors` has one more level, layers outside; pooled, there is `vector` instead, and an `id` stands
first, `null` or not, where ids were asked for. Numbers have as many digits as it takes to read back the same float.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from elmokit.embedding.output import Embedded, Form, Writer, stored

DIGITS = {"float32": 9, "float16": 5}


@contextmanager
def open_jsonl(path: Path, form: Form) -> Iterator[Writer]:
    """Open a file of JSON lines; see `elmokit.embedding.output`."""
    vector_format = "[" + ", ".join([f"%.{DIGITS[form.dtype]}g"] * form.width) + "]"
    with path.open("w", encoding="utf-8", newline="\n") as file:

        def write(item: Embedded) -> None:
            id_part = {"id": item.row.id} if form.ids else {}
            head = json.dumps({**id_part, "tokens": [token.text for token in item.tokens]}, ensure_ascii=False, default=str)
            file.write(f'{head[:-1]}, "{"vector" if form.pooled else "vectors"}": ')
            _write_numbers(file, stored(item.vectors, item.row, form.dtype), vector_format)
            file.write("}\n")

        yield write


def _write_numbers(file: IO[str], array: NDArray[Any], vector_format: str) -> None:
    """Write nested lists, vector by vector: the text of a long array is many times its size."""
    if array.ndim == 1:
        file.write(vector_format % tuple(array.astype(np.float64).tolist()))
        return
    file.write("[")
    for number, part in enumerate(array):
        file.write(", " if number else "")
        _write_numbers(file, part, vector_format)
    file.write("]")
