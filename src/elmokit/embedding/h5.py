"""Vectors as HDF5, in the layout of AllenNLP's `elmo` command.

    "0", "1", …           one dataset a text: (L, N, D) for all layers, else (N, D); without N if pooled
    "sentence_to_index"   (1,) a JSON string: text → name of its dataset

An id of the input is the attribute `id` of its dataset.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from elmokit.embedding.output import TOKENS_AT_ONCE, Embedded, Form, Writer


@contextmanager
def open_h5(path: Path, form: Form) -> Iterator[Writer]:
    """Open an HDF5 file; see `elmokit.embedding.output`."""
    index: dict[str, str] = {}
    with h5py.File(path, "w") as file:

        def write(item: Embedded) -> None:
            name = str(item.row.number)
            index[item.row.text.strip()] = name
            dataset = file.create_dataset(name, item.vectors.shape, form.dtype)
            if form.pooled:
                dataset[...] = item.vectors
            else:
                for start in range(0, len(item.tokens), TOKENS_AT_ONCE):
                    part = slice(start, start + TOKENS_AT_ONCE)
                    dataset[..., part, :] = item.vectors[..., part, :].astype(form.dtype, copy=False)
            if item.row.id is not None:
                dataset.attrs["id"] = item.row.id if isinstance(item.row.id, int | float | str) else str(item.row.id)

        yield write
        strings = file.create_dataset("sentence_to_index", (1,), dtype=h5py.string_dtype())
        strings[0] = json.dumps(index)
