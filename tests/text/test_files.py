import gzip
import io
import lzma
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from elmokit.errors import FormatError, MissingExtraError
from elmokit.text.files import ReadCounts, expand_paths, read_lines

Pack = Callable[[bytes], bytes]


def zstd(data: bytes) -> bytes:
    """Two frames, as files joined by `cat` have."""
    half = len(data) // 2
    packer = zstandard.ZstdCompressor(write_checksum=True)
    return packer.compress(data[:half]) + packer.compress(data[half:])


PACKERS: dict[str, Pack] = {
    ".txt": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}
PACKED = {suffix: packer for suffix, packer in PACKERS.items() if suffix != ".txt"}
LONG = bytes(random.Random(1).choices(range(32, 127), k=300_000))  # more than is read at once, and hard to compress
TEXT = b"\xef\xbb\xbffirst\r\n\n \t\nc\xe2\x80\xa8d\x0ce\x85f\n" + b"\xff\n" + LONG + b"\nlast"
LINES = ["first", "", " \t", "c\u2028d\x0ce", LONG.decode(), "last"]


@pytest.fixture(params=PACKERS)
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"text{request.param}"
    path.write_bytes(PACKERS[request.param](TEXT.replace(b"\x85f", b"")))
    return path


def test_lines_of_every_kind_of_file(packed: Path) -> None:
    counts = ReadCounts()
    assert list(read_lines(packed, errors="skip", counts=counts)) == LINES
    assert counts == ReadCounts(lines=7, undecodable=1, empty=2, packed_bytes=packed.stat().st_size)


def test_a_line_that_is_not_utf_8_stops_a_strict_reader(packed: Path) -> None:
    lines = read_lines(packed)
    assert [next(lines) for _ in range(4)] == LINES[:4]
    with pytest.raises(FormatError, match=rf"{packed.name}, line 5: byte 1 is not UTF-8"):
        next(lines)


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("kept", [0.0001, 0.3, 0.9999])
def test_a_file_cut_short_is_told(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"text{suffix}"
    data = PACKED[suffix](TEXT)
    path.write_bytes(data[: max(3, int(len(data) * kept))])
    with pytest.raises(FormatError, match=rf"text{suffix}: .*cut short"):
        list(read_lines(path, errors="skip"))


@pytest.mark.parametrize("suffix", PACKED)
def test_a_damaged_file_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    data = bytearray(PACKED[suffix](TEXT))
    data[len(data) // 4] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(FormatError, match=rf"text{suffix}: damaged"):
        list(read_lines(path, errors="skip"))


@pytest.mark.parametrize("suffix", PACKED)
def test_plain_text_under_a_packed_name_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_text("just some words\n")
    with pytest.raises(FormatError, match=rf"text{suffix}: .*not a {suffix} file"):
        list(read_lines(path))


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_lines_end_at_line_feeds_only(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("lines") / "text"
    path.write_bytes(text.encode())
    expected = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    if expected[-1] == "" and not text.endswith("\r"):
        expected.pop()
    assert list(read_lines(path)) == expected


def test_a_folder_and_a_missing_file_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder, expected a text file"):
        read_lines(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere.txt: no such file"):
        read_lines(tmp_path / "nowhere.txt")


@pytest.mark.parametrize("name", ["t.txt.bz2", "t.ZIP", "t.7z"])
def test_other_compressions_are_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"BZh9\xff")
    with pytest.raises(ValueError, match=rf"{name}: this compression is not supported, \.gz, \.xz and \.zst are"):
        read_lines(tmp_path / name, errors="skip")


def test_zst_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text.zst"
    path.write_bytes(zstd(TEXT))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'elmokit\[zstd\]'"):
        list(read_lines(path))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a b\nc\n")))
    assert list(read_lines("-")) == ["a b", "c"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt.gz", "deep/c.txt", ".hidden/d.txt", ".e.txt", "deep/a[1].txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x\n")
    return tmp_path


def test_patterns_become_files_each_once(tree: Path) -> None:
    def names(*patterns: str | Path) -> list[str]:
        return [path.relative_to(tree).as_posix() for path in expand_paths(patterns)]

    assert names(tree) == ["a.txt.gz", "b.txt", "deep/a[1].txt", "deep/c.txt"]
    assert names(tree / "b.txt", tree) == ["b.txt", "a.txt.gz", "deep/a[1].txt", "deep/c.txt"]
    assert names(f"{tree}/*.txt") == ["b.txt"]
    assert names(f"{tree}/**/*.txt") == ["b.txt", "deep/a[1].txt", "deep/c.txt"]
    assert names(f"{tree}/d*") == ["deep/a[1].txt", "deep/c.txt"]
    assert names(tree / "deep" / "a[1].txt") == ["deep/a[1].txt"]


def test_a_pattern_that_nothing_matches_is_named(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"\*.md: no such file, and no file matches it"):
        expand_paths([tree / "b.txt", tree / "*.md"])
    (tree / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no file in this folder"):
        expand_paths([tree / "empty"])
