"""Models in archives: read as their folders are, and nothing that an archive can do to a reader is done."""

import io
import json
import random
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.checkpoints.damage import bytes_changed, cuts, unless_refused
from tests.checkpoints.small_models import SMALL, full_checkpoint, same_tensors
from tests.checkpoints.tf_bundles import write_saved_model, write_training_folder

from elmokit.checkpoints import archives
from elmokit.checkpoints.checkpoint import Checkpoint, random_checkpoint
from elmokit.checkpoints.folder import save_folder
from elmokit.checkpoints.hdf5 import save_hdf5
from elmokit.checkpoints.load import load_checkpoint
from elmokit.config import ElmoConfig
from elmokit.errors import FormatError

KINDS = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2"]
EXPECTED = full_checkpoint()
PUBLISHED = random_checkpoint(ElmoConfig(bilm=SMALL), seed=4)

pytestmark = pytest.mark.filterwarnings("ignore:.*the published layout cannot hold:UserWarning")


def nlpl(folder: Path) -> Checkpoint:
    """As NLPL packs its models."""
    save_hdf5(EXPECTED, folder)
    (folder / "weights.hdf5").rename(folder / "model.hdf5")
    (folder / "meta.json").write_text("{}", encoding="utf-8")
    (folder / "vocab.txt").write_text("a\nb\n", encoding="utf-8")
    (folder / "other.hdf5").write_bytes(b"")
    return EXPECTED


def ours(folder: Path) -> Checkpoint:
    save_folder(EXPECTED, folder)
    return EXPECTED


def trained(folder: Path) -> Checkpoint:
    write_training_folder(folder, EXPECTED)
    return EXPECTED


def saved(folder: Path) -> Checkpoint:
    write_saved_model(folder, PUBLISHED, shards=2)
    return PUBLISHED


FORMATS = [nlpl, ours, trained, saved]
Make = Callable[[Path], Checkpoint]


def pack(folder: Path, target: Path, top: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Pack a folder by the kind that the target's name says, its files below `top`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", method) as archive:
            for path in files:
                archive.write(path, top + path.relative_to(folder).as_posix())
        return target
    mode = {".tar": "w", ".bz2": "w:bz2"}.get(target.suffix, "w:gz")
    with tarfile.open(target, mode) as tar:  # type: ignore[call-overload]  # the mode is one of three
        for path in files:
            tar.add(path, top + path.relative_to(folder).as_posix())
    return target


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder in the published layout."""
    nlpl(tmp_path / "model")
    return tmp_path / "model"


# What is read


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", FORMATS)
@pytest.mark.parametrize("top", ["", "some model/"])
def test_every_format_in_every_archive(kind: str, make: Make, top: str, tmp_path: Path) -> None:
    expected = make(tmp_path / "model")
    packed = pack(tmp_path / "model", tmp_path / f"packed{kind}", top)
    shutil.rmtree(tmp_path / "model")
    loaded = load_checkpoint(packed)
    assert same_tensors(loaded.bilm, expected.bilm)
    if make in (ours, trained):
        assert same_tensors(loaded.head, expected.head)
        assert loaded.vocabulary == expected.vocabulary
    if make is ours:
        assert (loaded.config, loaded.card) == (expected.config, expected.card)
    assert f"packed{kind}" in loaded.origin
    assert [path.name for path in tmp_path.iterdir()] == [f"packed{kind}"]  # nothing was unpacked


@pytest.mark.parametrize("kind", KINDS)
def test_manylangs_in_every_archive(kind: str, shared: Path, tmp_path: Path) -> None:
    """Its dictionaries, pickles and architecture, by the base name of a path that is not there."""
    folder = shared / "golden/models/manylangs_word_char"
    loaded, expected = load_checkpoint(pack(folder, tmp_path / f"144{kind}", "144/")), load_checkpoint(folder)
    assert same_tensors(loaded.bilm, expected.bilm)
    assert (loaded.config, loaded.input_words) == (expected.config, expected.input_words)
    assert loaded.input_characters == expected.input_characters


def test_files_without_compression(model: Path, tmp_path: Path) -> None:
    assert same_tensors(load_checkpoint(pack(model, tmp_path / "x.zip", method=zipfile.ZIP_STORED)).bilm, EXPECTED.bilm)


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_what_systems_leave_in_archives(kind: str, model: Path, tmp_path: Path) -> None:
    """macOS puts a shadow of each file into every archive."""
    (tmp_path / "all/elmo").mkdir(parents=True)
    shutil.move(model, tmp_path / "all/elmo/de")
    for name in ("__MACOSX/elmo/._model.hdf5", "elmo/.DS_Store", "elmo/de/._options.json"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).write_bytes(b"\0")
    with pytest.raises(FormatError, match=r"no model folder; .* found de/"):  # one folder round it, not two
        load_checkpoint(pack(tmp_path / "all", tmp_path / f"packed{kind}"))
    assert same_tensors(load_checkpoint(pack(tmp_path / "all/elmo", tmp_path / f"packed{kind}")).bilm, EXPECTED.bilm)


def test_a_tar_with_dots_and_folders(model: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(model, ".")
    assert same_tensors(load_checkpoint(tmp_path / "x.tar").bilm, EXPECTED.bilm)


# What is refused


@pytest.mark.parametrize("kind", [".zip", ".tar"])
@pytest.mark.parametrize("name", ["../options.json", "/etc/options.json", "a/../../b", "C:/x", "a\\..\\b"])
def test_paths_that_lead_out(kind: str, name: str, tmp_path: Path) -> None:
    packed = tmp_path / f"x{kind}"
    if kind == ".zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(name, b"{}")
    else:
        with tarfile.open(packed, "w") as tar:
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(FormatError, match=r"a path that leads out of the archive"):
        load_checkpoint(packed)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_and_devices_in_a_tar(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("options.json")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(info)
    with pytest.raises(FormatError, match=r"options\.json is a link, a device or sparse"):
        load_checkpoint(tmp_path / "x.tar")


def test_links_in_a_zip(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("options.json")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(FormatError, match=r"options\.json is a link or a device"):
        load_checkpoint(tmp_path / "x.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("kind", [".zip", ".tar"])
@pytest.mark.parametrize("name", ["options.json", "./options.json"])
def test_files_that_are_there_twice(kind: str, name: str, model: Path, tmp_path: Path) -> None:
    packed = pack(model, tmp_path / f"x{kind}")
    if kind == ".zip":
        with zipfile.ZipFile(packed, "a") as archive:
            archive.writestr(name, b"{}")
    else:
        with tarfile.open(packed, "a") as tar:
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(FormatError, match=r"options\.json is there twice"):
        load_checkpoint(packed)


@pytest.mark.parametrize(("method", "says"), [(zipfile.ZIP_BZIP2, "method 12"), (zipfile.ZIP_LZMA, "method 14")])
def test_other_methods_of_a_zip(method: int, says: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"is compressed by {says}, only deflate is read"):
        load_checkpoint(pack(model, tmp_path / "x.zip", method=method))


def central(data: bytearray, name: bytes) -> int:
    """Where a file's entry begins in a zip's list."""
    return data.rindex(name) - 46


def test_encrypted_files(model: Path, tmp_path: Path) -> None:
    packed = pack(model, tmp_path / "x.zip")
    data = bytearray(packed.read_bytes())
    data[central(data, b"options.json") + 8] |= 1
    packed.write_bytes(data)
    with pytest.raises(FormatError, match=r"options\.json is encrypted"):
        load_checkpoint(packed)


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (10**9, "may be a bomb"),
        (60_000_000, r"options\.json.*damaged in the archive|options\.json: has"),
        (5, r"options\.json: damaged"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_list_that_lies_about_sizes(size: int, says: str, method: int, model: Path, tmp_path: Path) -> None:
    packed = pack(model, tmp_path / "x.zip", method=method)
    data = bytearray(packed.read_bytes())
    struct.pack_into("<I", data, central(data, b"options.json") + 24, size)
    packed.write_bytes(data)
    with pytest.raises(FormatError, match=says):
        load_checkpoint(packed)


@pytest.mark.parametrize("kind", [".zip", ".tar.gz", ".tar.bz2"])
def test_bombs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small things may unpack to 64 MiB; here to less, so that the test is quick."""
    monkeypatch.setattr(archives, "_SMALL", 2**20)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/options.json").write_bytes(bytes(2**20 + 2**19))
    packed = pack(tmp_path / "model", tmp_path / f"x{kind}")
    assert packed.stat().st_size < 5000
    with pytest.raises(FormatError, match=r"unpack to 1,\d\d\d,\d\d\d or more, which no model does"):
        load_checkpoint(packed)
    monkeypatch.setattr(archives, "_EXPANSION", 10**5)
    with pytest.raises(FormatError, match="no model folder"):
        load_checkpoint(packed)


@pytest.mark.parametrize("kind", [".zip", ".tar.gz"])
def test_what_repeats_itself_more_than_text_does(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller by a factor of some tens: no weights, and more than the vocabulary beside them could make of it."""
    monkeypatch.setattr(archives, "_SMALL", 2**20)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/vocab.txt").write_bytes(b"".join(b"word%d\n" % i for i in range(2**17)))
    with pytest.raises(FormatError, match="no model folder"):  # this much is usual
        load_checkpoint(pack(tmp_path / "model", tmp_path / f"x{kind}"))
    (tmp_path / "model/weights.hdf5").write_bytes(random.Random(0).randbytes(2**14) * 2**10)
    with pytest.raises(FormatError, match=r"unpack to \d\d?,\d\d\d,\d\d\d or more, which no model does"):
        load_checkpoint(pack(tmp_path / "model", tmp_path / f"y{kind}"))


def test_more_than_any_model_has(tmp_path: Path) -> None:
    """However large the archive is; this one takes no room on the disk."""
    with (tmp_path / "x.zip").open("wb") as file:
        file.truncate(2**29)
    archives._check_size(2**32, tmp_path / "x.zip")
    with pytest.raises(FormatError, match="unpack to 8,589,934,593 or more"):
        archives._check_size(2**33 + 1, tmp_path / "x.zip")


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_too_many_files(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_FILES", 4)
    (tmp_path / "model").mkdir()
    for i in range(5):
        (tmp_path / "model" / str(i)).touch()
    with pytest.raises(FormatError, match="more than 4 files"):
        load_checkpoint(pack(tmp_path / "model", tmp_path / f"x{kind}"))


def test_a_tar_that_goes_round_in_circles(tmp_path: Path) -> None:
    """A negative size would lead back to the same entry for ever."""
    info = tarfile.TarInfo("a")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + (-(2**9)).to_bytes(11, "big", signed=True)
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
    (tmp_path / "x.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(FormatError, match=r"x\.tar"):
        load_checkpoint(tmp_path / "x.tar")


def test_headers_without_end(tmp_path: Path) -> None:
    """Each says that the next has a long name."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5
    (tmp_path / "x.tar").write_bytes((header.tobuf(tarfile.GNU_FORMAT) + b"name\0".ljust(512, b"\0")) * 3000)
    with pytest.raises(FormatError, match=r"x\.tar: not an archive, or damaged"):
        load_checkpoint(tmp_path / "x.tar")


@pytest.mark.parametrize("name", ["x.7z", "x.rar", "x.hdf5.gz", "x.xz", "x.TAR.ZST"])
def test_other_archives(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(FormatError, match=f"{name}: archives of this kind are not read, only .zip, .tar"):
        load_checkpoint(tmp_path / name)


# Damage


def outcome(packed: Path) -> Checkpoint | None:
    """A model, or None after the one error, which names the archive."""
    return unless_refused(lambda: load_checkpoint(packed), packed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("number_of_cuts", "number_of_flips"), [(12, 40), pytest.param(200, 1000, marks=pytest.mark.slow)], ids=["quick", "many"]
)
def test_damage(kind: str, number_of_cuts: int, number_of_flips: int, model: Path, tmp_path: Path) -> None:
    """A change in the weights is always found, but in a bare tar, which has no checksum of its contents."""
    packed = pack(model, tmp_path / f"x{kind}", method=zipfile.ZIP_STORED)
    for _ in cuts(packed, number_of_cuts):
        loaded = outcome(packed)
        assert loaded is None or same_tensors(loaded.bilm, EXPECTED.bilm)
    for _ in bytes_changed(packed, number_of_flips):
        loaded = outcome(packed)
        if loaded is not None and kind == ".tar":
            assert {name: x.shape for name, x in loaded.bilm.items()} == {name: x.shape for name, x in EXPECTED.bilm.items()}
        elif loaded is not None:
            assert same_tensors(loaded.bilm, EXPECTED.bilm)


def test_a_changed_weight_in_a_zip_is_named(model: Path, tmp_path: Path) -> None:
    packed = pack(model, tmp_path / "x.zip", method=zipfile.ZIP_STORED)
    data = bytearray(packed.read_bytes())
    data[data.index(b"\x89HDF") + 5000] ^= 1
    packed.write_bytes(data)
    with pytest.raises(FormatError, match=r"x\.zip/model\.hdf5: damaged in the archive \(Bad CRC-32"):
        load_checkpoint(packed)


def test_a_bare_tar_keeps_the_checksums_of_its_formats(tmp_path: Path) -> None:
    trained(tmp_path / "model")
    packed = pack(tmp_path / "model", tmp_path / "x.tar")
    data = bytearray(packed.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        data[tar.getmember("model.ckpt-80.data-00000-of-00001").offset_data + 20] ^= 1
    packed.write_bytes(data)
    with pytest.raises(
        FormatError, match=r"x\.tar/model\.ckpt-80\.data-00000-of-00001, byte 8: damaged, the CRC-32C of variable"
    ):
        load_checkpoint(packed)


def test_files_after_a_damaged_header_are_missed(tmp_path: Path) -> None:
    """tarfile takes it for the end: the vocabulary, which comes last and may be absent, would be lost without a word."""
    trained(tmp_path / "model")
    packed = pack(tmp_path / "model", tmp_path / "x.tar")
    data = bytearray(packed.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        last = tar.getmembers()[-1]
    assert last.name == "vocab.txt"
    packed.write_bytes(data[: last.offset_data + 3])
    with pytest.raises(FormatError, match=r"vocab\.txt should have \d+ bytes and the archive ends before"):
        load_checkpoint(packed)
    data[last.offset + 100] ^= 1
    packed.write_bytes(data)
    with pytest.raises(FormatError, match=r"byte [\d,]+ of the tar: neither a file nor its end"):
        load_checkpoint(packed)


def test_json_in_an_archive_names_its_place(model: Path, tmp_path: Path) -> None:
    (model / "options.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(FormatError, match=r"x\.zip/options\.json: expected a JSON object"):
        load_checkpoint(pack(model, tmp_path / "x.zip"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["model", "model.bin", "model.zip", "model.tar.gz"])
def test_an_archive_is_known_by_its_bytes(kind: str, name: str, tmp_path: Path) -> None:
    """Whatever it was renamed to."""
    ours(tmp_path / "model-folder")
    packed = pack(tmp_path / "model-folder", tmp_path / f"packed{kind}")
    packed.rename(tmp_path / name)
    assert same_tensors(load_checkpoint(tmp_path / name).bilm, EXPECTED.bilm)
