"""Vectors as HDF5, in the layout of AllenNLP's `elmo` command.

    "0", "1", …           one dataset a text: (L, N, D) for all layers, else (N, D); without N if pooled
    "sentence_to_index"   (1,) a JSON string: text → name of its dataset

An id of the input is the attribute `id` of its dataset.
"""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import h5py

from elmokit.embedding.output import TOKENS_AT_ONCE, Embedded, Form, Writer, stored
from elmokit.embedding.room import allocate

MARGIN = 1 << 20
CACHE = 1 << 18
"""Bytes of HDF5's own tables that it keeps in memory, by its own count; they take ten times as much."""
NAME_BYTES = 64
"""What HDF5's table of names may grow by at once, for each name in it: it doubles when it is full."""


@contextmanager
def open_h5(path: Path, form: Form) -> Iterator[Writer]:
    """Open an HDF5 file; see `elmokit.embedding.output`.

    Raises:
        OSError: The disk is full.
    """
    index: dict[str, str] = {}
    with new_h5_file(path) as (file, space):

        def write(item: Embedded) -> None:
            name = str(item.row.number)
            index[item.row.text.strip()] = name
            space.need(4 * item.vectors.size + NAME_BYTES * len(index))
            with interrupts_held():
                _add_dataset(file, name, item, form)

        yield write
        table = json.dumps(index)
        space.need(2 * len(table))
        file.create_dataset("sentence_to_index", (1,), dtype=h5py.string_dtype())[0] = table


def _add_dataset(file: h5py.File, name: str, item: Embedded, form: Form) -> None:
    """Write one text, a bounded number of tokens at a time."""
    dataset = file.create_dataset(name, item.vectors.shape, form.dtype)
    if form.pooled:
        dataset[...] = stored(item.vectors, item.row, form.dtype)
    else:
        for start in range(0, len(item.tokens), TOKENS_AT_ONCE):
            part = slice(start, start + TOKENS_AT_ONCE)
            dataset[..., part, :] = stored(item.vectors[..., part, :], item.row, form.dtype)
    if item.row.id is not None:
        dataset.attrs["id"] = item.row.id if isinstance(item.row.id, int | float | str) else str(item.row.id)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is done.

    h5py drops its objects through weak references, and an interrupt that falls into their callbacks is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {int(number): handler for number, handler in handlers.items() if callable(handler)}
    held: list[tuple[int, FrameType | None]] = []
    for number in before:
        signal.signal(number, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        before[held[0][0]](*held[0])


@contextmanager
def new_h5_file(path: Path) -> Iterator[tuple[h5py.File, "Space"]]:
    """Open a new file, and the space it lies in."""
    with path.open("wb") as handle:
        space = Space(handle.fileno())
        with h5py.File(path, "w") as space.file:
            cache = space.file.id.get_mdc_config()
            cache.set_initial_size, cache.initial_size, cache.min_size, cache.max_size = True, CACHE, CACHE, CACHE
            space.file.id.set_mdc_config(cache)
            yield space.file, space
            space.file.flush()
            size = space.file.id.get_filesize()
        handle.truncate(size)
    with h5py.File(path, "r"):  # HDF5 itself refuses a file that ends too early
        pass


class Space:
    """The disk space of an HDF5 file, taken before HDF5 writes: it crashes where a write fails."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.file: h5py.File = None
        self.taken = 0

    def need(self, size: int) -> None:
        """Take space for so many more bytes.

        Raises:
            OSError: There is too little.
        """
        end = self.file.id.get_filesize() + size + MARGIN
        if end > self.taken:
            self.taken = end + MARGIN
            allocate(self.handle, self.taken)
