"""Vectors as parquet: one row a token, or one row a text if they are pooled.

    row        number of the text in its file, from 0
    id         what the input's id column says, in its type; null where there is none
    position   number of the token in its text
    token      as it stands in the text
    start      where it begins there, in characters
    end        where it ends
    vector     a fixed-size list of D numbers, or of L · D: all layers, lowest first

Pooled, there are row, id and vector.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmokit.embedding.output import TOKENS_AT_ONCE, Embedded, Form, Writer, stored
from elmokit.errors import MissingExtraError
from elmokit.text.tokenizers import Token


@contextmanager
def open_parquet(path: Path, form: Form) -> Iterator[Writer]:
    """Open a parquet file; see `elmokit.embedding.output`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    table = _Table(path, form)
    try:
        yield table.add
        table.flush()
    finally:
        table.close()


def need_pyarrow() -> Any:
    """Import pyarrow with its parquet part.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("writing .parquet", "parquet") from error
    return pyarrow


class _Table:
    """A parquet file that grows by row groups of bounded size."""

    def __init__(self, path: Path, form: Form) -> None:
        self.pa = need_pyarrow()
        self.path = path
        self.form = form
        self.file: Any = None
        self.waiting: list[dict[str, Any]] = []  # pieces of the next row group, each with its columns
        self.waiting_rows = 0

    def add(self, item: Embedded) -> None:
        """Take a text, and write what has gathered."""
        if self.form.pooled:
            self._gather(item, [], item.vectors.reshape(1, -1))
            return
        for start in range(0, len(item.tokens), TOKENS_AT_ONCE):
            part = slice(start, start + TOKENS_AT_ONCE)
            vectors = item.vectors[..., part, :]
            if self.form.layers is not None:
                vectors = vectors.swapaxes(0, 1).reshape(vectors.shape[1], -1)
            self._gather(item, item.tokens[part], vectors, start)

    def _gather(self, item: Embedded, tokens: Sequence[Token], vectors: NDArray[np.float32], first: int = 0) -> None:
        columns: dict[str, Any] = {"row": [item.row.number] * len(vectors), "id": [item.row.id] * len(vectors)}
        if not self.form.pooled:
            columns["position"] = range(first, first + len(tokens))
            columns["token"], columns["start"], columns["end"] = zip(*tokens, strict=True)
        self.waiting.append({**columns, "vector": stored(vectors, item.row, self.form.dtype)})
        self.waiting_rows += len(vectors)
        if self.waiting_rows >= TOKENS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write a row group."""
        if self.file is None:
            self.file = self._open([value for piece in self.waiting for value in piece["id"]])
        if not self.waiting:
            return
        schema = self.file.schema
        arrays = []
        for field in schema:
            if field.name == "vector":
                numbers = np.concatenate([piece["vector"].reshape(-1) for piece in self.waiting])
                arrays.append(self.pa.FixedSizeListArray.from_arrays(self.pa.array(numbers), type=field.type))
            else:
                values = [value for piece in self.waiting for value in piece[field.name]]
                arrays.append(self._array(values, field))
        self.file.write_table(self.pa.Table.from_arrays(arrays, schema=schema))
        self.waiting, self.waiting_rows = [], 0

    def _array(self, values: list[Any], field: Any) -> Any:
        """One column; ids may turn out to be of mixed types."""
        try:
            return self.pa.array(values, field.type)
        except (self.pa.ArrowInvalid, self.pa.ArrowTypeError) as error:
            raise ValueError(f"--id-column: ids must be of one type, {field.type} as at first ({error})") from error

    def _open(self, ids: list[Any]) -> Any:
        """Open the file, now that the first ids tell their type."""
        pa = self.pa
        known = [value for value in ids if value is not None]
        id_type = pa.scalar(known[0]).type if known else pa.string()
        fields = [("row", pa.int64()), ("id", id_type)]
        if not self.form.pooled:
            fields += [("position", pa.int32()), ("token", pa.string()), ("start", pa.int32()), ("end", pa.int32())]
        number = pa.float16() if self.form.dtype == "float16" else pa.float32()
        fields.append(("vector", pa.list_(number, self.form.width * (self.form.layers or 1))))
        plain = [name for name, _ in fields[:-1]]  # neither dictionaries nor statistics are of use for vectors
        return pa.parquet.ParquetWriter(
            self.path, pa.schema(fields), compression="NONE", use_dictionary=plain, write_statistics=plain
        )

    def close(self) -> None:
        """Close the file, finished or not."""
        if self.file is not None:
            self.file.close()
