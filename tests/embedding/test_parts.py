"""Parts: each is made once, in whatever order they were finished before."""

from collections import deque
from pathlib import Path

from elmokit.embedding.parts import open_parts, part_path, parts_left
from elmokit.embedding.rows import Row

ROWS = [Row(n, None, f"text {n}") for n in range(25)]


def left(folder: Path, part_rows: int = 10) -> list[tuple[str, list[int]]]:
    return [(path.name, [row.number for row in rows]) for path, rows in parts_left(folder, "h5", iter(ROWS), part_rows)]


def test_all_rows_are_in_a_part(tmp_path: Path) -> None:
    assert open_parts(tmp_path / "new", {"a": 1}, "h5") == 0
    assert left(tmp_path / "new") == [
        ("part-00000.h5", list(range(10))),
        ("part-00001.h5", list(range(10, 20))),
        ("part-00002.h5", list(range(20, 25))),
    ]


def test_what_is_there_is_left_out_wherever_it_stands(tmp_path: Path) -> None:
    """Workers finish parts out of order, so one that was killed may leave a gap."""
    open_parts(tmp_path, {"a": 1}, "h5")
    for number in (0, 2):
        part_path(tmp_path, number, "h5").touch()
    assert open_parts(tmp_path, {"a": 1}, "h5") == 2
    assert left(tmp_path) == [("part-00001.h5", list(range(10, 20)))]


def test_a_part_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    rows = iter(ROWS)
    parts = parts_left(tmp_path, "h5", rows, 10)
    _, part = next(parts)
    assert next(part).number == 0
    assert next(rows).number == 1  # no further than that
    deque(part, maxlen=0)
    assert next(next(parts)[1]).number == 11
