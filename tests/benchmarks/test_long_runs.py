"""Rows are measured once, processes answer or say how they ended, tables are Markdown."""

import json
import os
from pathlib import Path

import pytest
from benchmarks.long_runs import Kept, Row, about_file, apart, as_table


def answer(number: int) -> Row:
    return {"process": os.getpid(), "parent": os.getppid(), "number": number}


def die(number: int) -> Row:
    os._exit(number)


def stumble(path: Path) -> Row:
    return {"about": about_file(path)}


def test_a_row_is_measured_once(tmp_path: Path) -> None:
    path, measured = tmp_path / "rows.json", list[int]()

    def measure() -> Row:
        measured.append(len(measured))
        return {"seconds": 1.5 * len(measured)}

    kept = Kept(path)
    assert kept.row({"size": 1, "files": ("a", 2)}, measure) == {"seconds": 1.5}
    assert kept.row({"size": 2, "files": ("a", 2)}, measure) == {"seconds": 3.0}
    again = Kept(path)
    assert again.row({"size": 1, "files": ("a", 2)}, measure) == {"seconds": 1.5}
    assert again.row({"size": 1, "files": ("b", 2)}, measure) == {"seconds": 4.5}
    assert len(measured) == 3
    assert [row["asked"]["size"] for row in json.loads(path.read_text())["rows"]] == [1, 2, 1]


def test_what_a_failed_measurement_leaves(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "rows.json")

    def fail() -> Row:
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        kept.row({"size": 1}, fail)
    assert not (tmp_path / "rows.json").exists()
    assert kept.row({"size": 1}, lambda: {"seconds": 1}) == {"seconds": 1}


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"lines": []}')
    with pytest.raises(ValueError, match=r"--json .*rows\.json: holds no rows .* give another file"):
        Kept(tmp_path / "rows.json")


def test_a_process_of_its_own_answers_and_is_watched() -> None:
    seen: set[int] = set()
    found = apart(answer, 7, watch=seen.add)
    assert found["number"] == 7
    assert found["parent"] == os.getpid()
    assert seen == {found["process"]}


def test_a_process_that_ends_without_an_answer() -> None:
    with pytest.raises(ValueError, match="ended with status 5"):
        apart(die, 5)


def test_what_a_user_did_wrong_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"b\.txt: no such file"):
        apart(stumble, tmp_path / "b.txt")


def test_about_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("four")
    assert about_file(tmp_path / "a.txt") == ["a.txt", 4]
    with pytest.raises(ValueError, match=r"b\.txt: no such file"):
        about_file(tmp_path / "b.txt")


def test_a_table_in_markdown() -> None:
    assert as_table(["run", "MB"], [["one", "1,234"], ["seventeen", "5"]]).splitlines() == [
        "| run       |    MB |",
        "|-----------|------:|",
        "| one       | 1,234 |",
        "| seventeen |     5 |",
    ]
