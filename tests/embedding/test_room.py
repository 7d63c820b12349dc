"""Arrays on disk."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from elmokit.embedding import room
from elmokit.embedding.room import NpyFile, reserve, room_in


def test_large_arrays_are_files_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LARGE", 1000)
    make = room_in(tmp_path)
    small, large = make((2, 5)), make((3, 100))
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    large[:] = 7
    assert large.sum() == 2100
    assert os.name == "nt" or not list(tmp_path.iterdir())


@pytest.mark.parametrize("has_fallocate", [True, False])
def test_reserving_keeps_what_stands_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_fallocate: bool) -> None:
    if not has_fallocate:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"head")
        file.truncate(3 << 20)
    reserve(path)
    assert path.read_bytes() == b"head" + bytes((3 << 20) - 4)
    assert path.stat().st_blocks * 512 >= 3 << 20


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot allocate space")
def test_a_full_disk_is_an_error_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(room, "LARGE", 0)
    with pytest.raises(OSError, match="No space left"):
        room_in(tmp_path)((5, 5))


def test_a_file_is_written_part_by_part(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    file = NpyFile(path, (2, 5, 4))
    expected = np.arange(40, dtype=np.float32).reshape(2, 5, 4)
    for half in (slice(2), slice(2, 4)):
        file[..., 0:2, half] = expected[..., 0:2, half]
        file[..., 2:5, half] = expected[..., 2:5, half]
    np.testing.assert_array_equal(np.load(path), expected)
    assert np.load(path).dtype == np.float32
    NpyFile(path, (0, 4))
    assert np.load(path).shape == (0, 4)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell what a process has mapped")
def test_what_was_written_is_no_memory_of_the_process(tmp_path: Path) -> None:
    def resident() -> int:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    rows = np.ones((1000, 1024), dtype=np.float32)
    file = NpyFile(tmp_path / "x.npy", (16_000, 1024))
    before = resident()
    for start in range(0, 16_000, 1000):
        file[start : start + 1000] = rows
    assert resident() - before < 32e6  # of 64 MB
