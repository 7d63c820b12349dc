"""Writes TensorFlow's checkpoints (Saver V2), as its own program lays them out, for tests to read."""

import json
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.crc32c import crc32c
from elmokit.checkpoints.layout import bilm_layout
from elmokit.checkpoints.options import make_options

Arrays = Mapping[str, NDArray[Any]]
TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}


def write_bundle(prefix: Path, arrays: Arrays, shards: int = 1, block: int = 2**18, **header: int) -> None:
    """Write PREFIX.index and the data files; variables are dealt to the shards in turn.

    Args:
        prefix: The files' common name.
        arrays: The variables.
        shards: How many data files.
        block: Bytes after which a new block of the index begins.
        **header: `endianness`, if not little.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data = [bytearray() for _ in range(shards)]
    first = number(1, shards) + number(2, header.get("endianness", 0)) + message(3, number(1, 1))
    entries = {b"": first}
    for i, name in enumerate(sorted(arrays, key=str.encode)):
        array, shard = np.asarray(arrays[name]), i % shards
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        entries[name.encode()] = entry(array, raw, shard, len(data[shard]))
        data[shard] += raw
    for i, shard_data in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{i:05d}-of-{shards:05d}").write_bytes(shard_data)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries, block))


def entry(array: NDArray[Any], raw: bytes, shard: int, offset: int) -> bytes:
    """A BundleEntryProto; zeros are left out, as protocol buffers do."""
    shape = b"".join(message(2, number(1, size)) for size in array.shape)
    found = number(1, TYPES[array.dtype.name]) + message(2, shape)
    for field, value in ((3, shard), (4, offset), (5, len(raw))):
        found += number(field, value) if value else b""
    return found + varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(raw)))


def table(entries: Mapping[bytes, bytes], block: int = 2**18, kind: int = 0) -> bytes:
    """A table file."""
    written, index = bytearray(), {}
    for group in groups(entries.items(), block):
        index[group[-1][0]] = add_block(written, group, kind)
    meta = add_block(written, [])
    handles = meta + add_block(written, index.items())
    return bytes(written + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57))


def add_block(written: bytearray, entries: Iterable[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    """Append a block; gives its handle."""
    contents, restarts, last = bytearray(), [0], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % 16 == 0:
            restarts.append(len(contents)) if i else None
        else:
            while shared < min(len(last), len(key)) and last[shared] == key[shared]:
                shared += 1
        contents += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    contents += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    handle = varint(len(written)) + varint(len(contents))
    contents.append(kind)
    written += contents + struct.pack("<I", masked(crc32c(bytes(contents))))
    return handle


def groups(entries: Iterable[tuple[bytes, bytes]], block: int) -> list[list[tuple[bytes, bytes]]]:
    """Cut entries into blocks."""
    found: list[list[tuple[bytes, bytes]]] = [[]]
    size = 0
    for key, value in entries:
        if size >= block:
            found.append([])
            size = 0
        found[-1].append((key, value))
        size += len(key) + len(value)
    return found


def masked(crc: int) -> int:
    """As TensorFlow stores a CRC."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    low = bytearray()
    while value >= 0x80:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])


def number(field: int, value: int) -> bytes:
    """A field that is a number."""
    return varint(field << 3) + varint(value)


def message(field: int, value: bytes) -> bytes:
    """A field that is a message."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def variables_of(checkpoint: Checkpoint, style: str, prefix: str) -> dict[str, NDArray[Any]]:
    """A model's tensors, named as bilm-tf names them in "training" or in its inference graph ("saved")."""
    found = {}
    for entry in bilm_layout(checkpoint.config.bilm):
        tensor = checkpoint.bilm[entry.name]
        tensor = tensor.permute(*reversed(range(tensor.dim()))) if entry.transposed else tensor
        array = tensor.numpy().reshape(entry.dataset_shape)
        if style == "saved" and entry.dataset == "char_embed":
            array = np.concatenate([np.zeros_like(array[:1]), array])
        found[prefix + tf_name(entry.dataset, style)] = array
    if checkpoint.head is not None and style == "training":
        found |= {f"{prefix}softmax/W": checkpoint.head["weight"].numpy(), f"{prefix}softmax/b": checkpoint.head["bias"].numpy()}
        found |= {f"{name}/Adagrad": np.ones_like(array) for name, array in found.items()}
        found["global_step"] = np.array(80)
    return found


def tf_name(dataset: str, style: str) -> str:
    """The name of a variable for that of a dataset in the published HDF5 files."""
    cell = re.fullmatch(r"RNN_(.)/RNN/MultiRNNCell/Cell(.)/LSTMCell/(.*)", dataset)
    if cell is None:
        return dataset
    direction, layer, kind = cell.groups()
    middle = f"rnn/multi_rnn_cell/cell_{layer}" if style == "training" else f"RNN/MultiRNNCell/Cell{layer}/rnn"
    return f"RNN_{direction}/{middle}/lstm_cell/{ {'W_0': 'kernel', 'B': 'bias', 'W_P_0': 'projection/kernel'}[kind] }"


def write_training_folder(folder: Path, checkpoint: Checkpoint, prefix: str = "lm/", shards: int = 1) -> Path:
    """Write what bilm-tf's training leaves."""
    write_bundle(folder / "model.ckpt-80", variables_of(checkpoint, "training", prefix), shards)
    (folder / "checkpoint").write_text('model_checkpoint_path: "/gpu7/runs/model.ckpt-80"\n', encoding="utf-8")
    (folder / "options.json").write_text(json.dumps(make_options(checkpoint.config.bilm)), encoding="utf-8")
    if checkpoint.vocabulary is not None:
        checkpoint.vocabulary.save(folder / "vocab.txt")
    return folder


def write_saved_model(folder: Path, checkpoint: Checkpoint, prefix: str = "bilm/", shards: int = 1, **extra: Any) -> Path:
    """Write a SavedModel as TensorFlow Hub does."""
    arrays = variables_of(checkpoint, "saved", prefix)
    write_bundle(folder / "variables/variables", {**arrays, **extra}, shards)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    return folder
