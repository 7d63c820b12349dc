"""TensorFlow's checkpoints: what its own program wrote, what others could write, and what is left after damage."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.checkpoints import tf_bundles
from tests.checkpoints.damage import bytes_changed, cuts, unless_refused
from tests.checkpoints.tf_bundles import message, number, table, write_bundle
from tests.golden.cases import DATA

from elmokit.checkpoints.crc32c import crc32c
from elmokit.checkpoints.tf_bundle import Bundle
from elmokit.checkpoints.tf_table import read_fields, read_table
from elmokit.errors import FormatError

GOLDEN = DATA / "training/checkpoint"
ARRAYS: dict[str, NDArray[Any]] = {
    "a/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a/kernel/Adagrad": np.ones((3, 4), np.float32),
    "b": np.array(7, np.float32),
    "half": np.arange(3, dtype=np.float16),
    "n": np.arange(2, dtype=np.float64),
    "zzz": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A checkpoint of a few variables."""
    write_bundle(tmp_path / "model.ckpt-80", ARRAYS)
    return tmp_path / "model.ckpt-80"


def opened(prefix: Path) -> Bundle:
    return Bundle(prefix.with_name(f"{prefix.name}.index"))


def read_all(prefix: Path) -> dict[str, NDArray[np.float32]]:
    """Every variable, but what is no float."""
    bundle = opened(prefix)
    return {name: bundle.read(name) for name, variable in bundle.variables.items() if variable.dtype != 9}


def test_what_tensorflow_wrote(tmp_path: Path) -> None:
    """Its index, beside the numbers that the reference program read: all CRCs agree, so the data file is the same."""
    shutil.copy(GOLDEN / "model.ckpt-80.index", tmp_path)
    with np.load(DATA / "cases/checkpoint.npz") as file:
        arrays = {name.removeprefix("ckpt/"): file[name] for name in file.files if name.startswith("ckpt/")}
    data = b"".join(arrays[name].tobytes() for name in sorted(arrays, key=str.encode))
    (tmp_path / "model.ckpt-80.data-00000-of-00001").write_bytes(data)
    read = read_all(tmp_path / "model.ckpt-80")
    assert read.keys() == arrays.keys()
    assert all(np.array_equal(read[name], arrays[name]) and read[name].shape == arrays[name].shape for name in arrays)


def test_our_writer_writes_what_tensorflow_wrote(tmp_path: Path) -> None:
    """So that the other tests say something of real files."""
    with np.load(DATA / "cases/checkpoint.npz") as file:
        arrays = {name.removeprefix("ckpt/"): file[name] for name in file.files if name.startswith("ckpt/")}
    write_bundle(tmp_path / "model", arrays)
    ours, theirs = ((tmp_path / "model.index").read_bytes(), (GOLDEN / "model.ckpt-80.index").read_bytes())
    assert read_table(ours, "ours") == {
        key: value if key else number(1, 1) + number(2, 0) + message(3, number(1, 1))
        for key, value in read_table(theirs, "theirs").items()
    }


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("block", [1, 50, 2**18])
def test_any_number_of_shards_and_blocks(shards: int, block: int, tmp_path: Path) -> None:
    write_bundle(tmp_path / "x", {**ARRAYS, "step": np.array(80)}, shards, block)
    read = read_all(tmp_path / "x")
    assert read.keys() == ARRAYS.keys()
    for name, array in read.items():
        assert array.dtype == ARRAYS[name].dtype
        assert np.array_equal(array, ARRAYS[name])


def test_numbers_are_mapped_and_the_file_is_safe(prefix: Path) -> None:
    data = prefix.with_name("model.ckpt-80.data-00000-of-00001")
    before, array = data.read_bytes(), opened(prefix).read("a/kernel")
    assert isinstance(array, np.memmap)
    array[:] = 5
    assert data.read_bytes() == before


# What is refused


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.with_name("model.ckpt-80.data-00000-of-00001").unlink(), r"data-00000-of-00001: missing"),
        (lambda p: p.with_name("model.ckpt-80.index").write_bytes(b""), "no index of a TensorFlow checkpoint"),
        (lambda p: p.with_name("model.ckpt-80.index").write_bytes(b"<html>" * 20), "no index of a TensorFlow checkpoint"),
        (lambda p: p.with_name("model.ckpt-80.index").write_bytes(table({b"a": b""})), "no header"),
        (lambda p: write_bundle(p, ARRAYS, endianness=1), "big-endian"),
        (lambda p: write_bundle(p, {"a/kernel": np.arange(3)}), "variable a/kernel is of TensorFlow's type 9, expected floats"),
        (lambda p: p.with_name("model.ckpt-80.index").write_bytes(table({b"": number(1, 1)}, kind=1)), r"compressed \(kind 1\)"),
        (lambda p: p.with_name("model.ckpt-80.index").write_bytes(bytes(2**24 + 1)), "no index of a checkpoint is larger"),
    ],
)
def test_refused(prefix: Path, change: Callable[[Path], object], says: str) -> None:
    change(prefix)
    with pytest.raises(FormatError, match=says):
        opened(prefix).read("a/kernel")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.index: no such file"):
        Bundle(tmp_path / "x.index")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (number(1, 1) + message(2, message(2, number(1, 2**62))) + number(5, 2**64 - 4), "impossible shape or size"),
        (number(1, 1) + message(2, message(2, number(1, 2**64 - 1))) + number(5, 4), "impossible shape or size"),
        (number(1, 1) + message(2, message(2, number(1, 2**40))) + number(5, 2**42), "4,398,046,511,104 bytes, .* are there"),
        (number(1, 1) + message(2, message(2, number(1, 2))) + number(4, 2**50) + number(5, 8), "8 bytes, 0 are there"),
        (number(1, 1) + message(2, message(2, number(1, 2))) + number(5, 4), r"shape \(2,\) cannot have 4 bytes"),
        (number(1, 1) + number(3, 1), "stands in data file 1 of 1"),
        (number(1, 1) + message(7, b""), "stored in slices"),
        (number(1, 7), "TensorFlow's type 7"),
        (message(1, b""), "field 1 is no number"),
        (number(2, 1), "field 2 is no message"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "more than 64 bits"),
        (b"\x08\x80", "a number is cut short"),
        (b"\x12\xff\xff\xff\xff\x0f", "4,294,967,295 bytes announced, 0 are left"),
        (b"\x0b", "fields of kind 3 do not exist"),
    ],
)
def test_entries_that_lie(entry: bytes, says: str, prefix: Path) -> None:
    """Their CRCs are right: somebody meant it."""
    prefix.with_name("model.ckpt-80.index").write_bytes(table({b"": number(1, 1), b"x": entry}))
    with pytest.raises(FormatError, match=rf"model\.ckpt-80\.(index|data-00000-of-00001).*{says}"):
        opened(prefix).read("x")


def test_shapes_that_lie_are_found_before_anything_is_read(prefix: Path) -> None:
    """So that whoever counts by a shape, words of a vocabulary for instance, counts by what is there."""
    entry = number(1, 1) + message(2, message(2, number(1, 2**60))) + number(5, 8)
    prefix.with_name("model.ckpt-80.index").write_bytes(table({b"": number(1, 1), b"softmax/b": entry}))
    with pytest.raises(FormatError, match=r"variable softmax/b of shape \(1152921504606846976,\) cannot have 8 bytes"):
        opened(prefix)


def block_of(contents: bytes) -> bytes:
    """A table whose only data block is this."""
    written = bytearray(contents + b"\0")
    written += tf_bundles.masked(crc32c(bytes(written))).to_bytes(4, "little")
    handle = tf_bundles.varint(0) + tf_bundles.varint(len(contents))
    handles = tf_bundles.varint(0) * 2 + tf_bundles.add_block(written, [(b"z", handle)])
    return bytes(written) + handles.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"\0\1\0b\0\1\0a" + bytes(4), "keys are not in order"),
        (b"\0\1\0a\1\0\0" + bytes(4), "keys are not in order"),
        (b"\1\1\0a" + bytes(4), "impossible lengths"),
        (b"\0\1\x7fa" + bytes(4), "impossible lengths"),
        (b"\0\xff\x7f\0a" + bytes(4), "impossible lengths"),
        (b"\xff\xff\xff\xff", "4,294,967,295 restart points"),
        (b"", "0 restart points"),
    ],
)
def test_blocks_that_lie(contents: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=rf"here, in the block at byte 0: byte \d+: .*{says}"):
        read_table(block_of(contents), "here")


def test_blocks_that_are_not_in_order() -> None:
    written = bytearray()
    handles = [tf_bundles.add_block(written, [(key, b"")]) for key in (b"b", b"a")]
    index = tf_bundles.add_block(written, zip((b"c", b"d"), handles, strict=True))
    written += (tf_bundles.varint(0) * 2 + index).ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")
    with pytest.raises(FormatError, match=r"here, byte \d+: the keys of this block are not in order"):
        read_table(bytes(written), "here")


def table_of(blocks: list[list[bytes]], order: list[int]) -> bytes:
    """A table whose index names these data blocks, given by their keys, in some order, once or more."""
    written = bytearray()
    handles = [tf_bundles.add_block(written, [(key, b"") for key in keys]) for keys in blocks]
    index = tf_bundles.add_block(written, ((i.to_bytes(2, "big"), handles[block]) for i, block in enumerate(order)))
    written += (tf_bundles.varint(0) * 2 + index).ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")
    return bytes(written)


@pytest.mark.parametrize(
    ("blocks", "order", "says"),
    [
        ([[]], [0], "byte 0: a block without entries"),
        ([[]], [0] * 2000, "byte 0: a block without entries"),
        ([[b"a"], []], [0, 1], r"byte \d+: a block without entries"),
        ([[b"b"], [b"a"]], [1, 0], r"byte 0: this block begins before the end of the one before it, byte \d+"),
        ([[b"a"]], [0, 0], "byte 0: this block begins before"),
    ],
)
def test_blocks_that_are_read_for_nothing_or_twice(blocks: list[list[bytes]], order: list[int], says: str) -> None:
    """Thousands of entries in the index, all for one large block, would take a minute for some kilobytes."""
    assert list(read_table(table_of([[b"a"], [b"b", b"c"]], [0, 1]), "here")) == [b"a", b"b", b"c"]
    with pytest.raises(FormatError, match=f"here, {says}"):
        read_table(table_of(blocks, order), "here")


def test_too_many_entries() -> None:
    many = table({i.to_bytes(3, "big"): b"" for i in range(100_002)}, block=2**30)
    with pytest.raises(FormatError, match="one too many"):
        read_table(many, "here")
    with pytest.raises(FormatError, match="more than 100,000 entries"):
        read_table(table({i.to_bytes(3, "big"): b"" for i in range(100_002)}, block=2**12), "here")


@given(st.binary(max_size=100))
def test_any_bytes_are_fields_or_an_error(data: bytes) -> None:
    message, fields = "byte ", {}
    try:
        fields = read_fields(data)
    except ValueError as error:
        message = str(error)
    assert message.startswith("byte ")
    assert sum(len(value) for values in fields.values() for value in values if isinstance(value, bytes)) <= len(data)


@pytest.mark.parametrize("file", ["model.ckpt-80.index", "model.ckpt-80.data-00000-of-00001"])
def test_cut_short(prefix: Path, file: str) -> None:
    for path in cuts(prefix.with_name(file), 200):
        with pytest.raises(FormatError, match=rf"{path.name}.*(cut short|no index|wrong|damaged)"):
            read_all(prefix)


def test_changed_bytes_of_the_numbers(prefix: Path) -> None:
    """Each is found: the checksum is of all that is read."""
    for path in bytes_changed(prefix.with_name("model.ckpt-80.data-00000-of-00001"), 150):
        with pytest.raises(FormatError, match=rf"{path.name}, byte \d+: damaged, the CRC-32C of variable"):
            read_all(prefix)


def test_changed_bytes_of_the_index(prefix: Path) -> None:
    """What no checksum covers is the footer; a change there is found too, or changes nothing."""
    whole = read_all(prefix)
    for path in bytes_changed(prefix.with_name("model.ckpt-80.index"), 300):
        read = unless_refused(lambda: read_all(prefix), path.name)
        if read is not None:
            assert read.keys() == whole.keys()
            assert all(np.array_equal(read[name], whole[name]) for name in whole)
