"""Hostile PyTorch files: what they claim is compared with what is there, before memory is taken."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch

from elmokit.checkpoints.pickles import load_state_dict
from elmokit.errors import FormatError

Members = list[tuple[str, bytes]]
TENSORS = {"a": torch.arange(77.0), "b": torch.ones(3, 5).half()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound file in the zip format."""
    torch.save(TENSORS, tmp_path / "weights.th")
    return tmp_path / "weights.th"


def rewrite(path: Path, change: Callable[[Members], Members], method: int = zipfile.ZIP_STORED) -> None:
    """Write a zip anew with other members, their checksums right."""
    with zipfile.ZipFile(path) as file:
        members = [(name, file.read(name)) for name in file.namelist()]
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in change(members):
            file.writestr(name, content)


@pytest.mark.parametrize("old", [False, True])
def test_what_was_saved(old: bool, tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "weights.th", _use_new_zipfile_serialization=not old)
    found = load_state_dict(tmp_path / "weights.th")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_a_rewritten_zip_is_read(path: Path) -> None:
    rewrite(path, lambda members: members)
    assert load_state_dict(path)["a"].tolist() == list(range(77))


def test_every_changed_number_is_found(path: Path) -> None:
    """PyTorch itself does not look at the checksums."""
    whole = path.read_bytes()
    start = whole.index(TENSORS["a"].numpy().tobytes())
    for place in range(start, start + TENSORS["a"].nbytes, 13):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FormatError, match=r"weights\.th: no PyTorch file .*Bad CRC-32"):
            load_state_dict(path)


@pytest.mark.parametrize("old", [False, True])
def test_few_numbers_seen_as_many(old: bool, tmp_path: Path) -> None:
    """With a stride of 0 a number is as many as one likes, for a pickle of some bytes."""
    torch.save({"a": torch.ones(1).expand(90, 90)}, tmp_path / "weights.th", _use_new_zipfile_serialization=not old)
    with pytest.raises(FormatError, match=r"weights\.th: tensor a of shape \(90, 90\) has more numbers than the file holds"):
        load_state_dict(tmp_path / "weights.th")


@pytest.mark.parametrize("old", [False, True])
def test_one_tensor_by_many_names(old: bool, tmp_path: Path) -> None:
    """Some names for one tensor are usual, hundreds are not."""
    tensor = torch.ones(50_000)
    for names in (3, 300):
        torch.save({f"a{i}": tensor for i in range(names)}, tmp_path / "w", _use_new_zipfile_serialization=not old)
        if names == 3:
            assert len(load_state_dict(tmp_path / "w")) == 3
    with pytest.raises(FormatError, match=r"tensor a4 of shape \(50000,\) has more numbers than the file holds"):
        load_state_dict(tmp_path / "w")


@pytest.mark.parametrize("tensor", [torch.ones(2, 2).to_sparse(), torch.ones(10**6, device="meta")])
def test_tensors_of_another_kind(tensor: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"a": tensor}, tmp_path / "weights.th")
    with pytest.raises(FormatError, match=r"weights\.th: (tensor a is torch\..* expected plain numbers|no PyTorch file)"):
        load_state_dict(tmp_path / "weights.th")


def test_compressed_members(path: Path) -> None:
    rewrite(path, lambda members: members, zipfile.ZIP_DEFLATED)
    with pytest.raises(FormatError, match="its zip is compressed, which PyTorch's never is"):
        load_state_dict(path)


def test_members_that_claim_too_much(path: Path) -> None:
    """Both sizes of a member, in the list at the zip's end: signature, …, CRC-32, sizes, …, name."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(BytesIO(data)) as file:
        entry = file.start_dir
    data[entry + 20 : entry + 28] = (2**30).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(FormatError, match="the zip claims to hold more than the file"):
        load_state_dict(path)


@pytest.mark.parametrize("name", ["a/xdata.pkl", "weights/DATA.PKL"])
@pytest.mark.parametrize("first", [True, False])
def test_a_second_pickle(name: str, first: bool, path: Path) -> None:
    """Which of the two PyTorch would read is not ours to guess: its numbers might not be those that were checked."""
    decoy = BytesIO()
    torch.save({}, decoy)
    with zipfile.ZipFile(decoy) as file:
        member = (name, file.read(next(entry for entry in file.namelist() if entry.endswith("data.pkl"))))
    rewrite(path, lambda members: [member, *members] if first else [*members, member])
    with pytest.raises(FormatError, match="the zip holds a member twice, or not just one pickle"):
        load_state_dict(path)


def test_two_lists_of_members(path: Path, tmp_path: Path) -> None:
    """A zip behind another: what one reader checks, another must not read differently."""
    torch.save({"a": 10**9}, tmp_path / "hostile.th")
    path.write_bytes((tmp_path / "hostile.th").read_bytes() + path.read_bytes())
    assert load_state_dict(path).keys() == TENSORS.keys()
