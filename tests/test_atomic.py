"""Writes that succeed whole or not at all."""

import errno
from pathlib import Path

import pytest

from elmokit.atomic import atomic_folder, atomic_path


def test_a_file_is_replaced_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def stop_halfway() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert target.read_text() == "old"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content, fails in (("old", False), ("half", True), ("new", False)):
        before = (target / "file").read_text() if target.exists() else None
        try:
            with atomic_folder(target) as temporary:
                (temporary / "file").write_text(content)
                if fails:
                    raise RuntimeError
        except RuntimeError:
            assert (target / "file").read_text() == before
        else:
            assert (target / "file").read_text() == content
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_names_the_target(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    with pytest.raises(OSError, match="No space") as caught, atomic_path(target):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(target)
    with pytest.raises(FileNotFoundError) as other, atomic_path(target):
        (tmp_path / "input").read_text()
    assert other.value.filename == str(tmp_path / "input")
    missing = tmp_path / "closed"
    with pytest.raises(FileNotFoundError) as mine, atomic_path(missing):
        pass  # nothing was written: the temporary file is not there
    assert mine.value.filename == str(missing)


def test_a_place_that_cannot_be_written_is_named_as_the_user_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    target = tmp_path / "model"
    monkeypatch.setattr(Path, "mkdir", lambda path, **options: None if options else read_only(path))
    with pytest.raises(OSError, match="Read-only") as folder, atomic_folder(target):
        pass
    with pytest.raises(OSError, match="Read-only") as file, atomic_path(target) as temporary:
        read_only(temporary)
    assert folder.value.filename == file.value.filename == str(target)


def test_folders_made_for_a_failed_write_are_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    target = tmp_path / "kept/new/newer/name"
    with pytest.raises(FileNotFoundError), atomic_path(target):
        pass  # nothing is written
    with pytest.raises(RuntimeError), atomic_folder(target):
        raise RuntimeError
    assert list(tmp_path.rglob("*")) == [tmp_path / "kept"]
    with atomic_folder(target):
        assert target.parent.is_dir()
    assert target.is_dir()
