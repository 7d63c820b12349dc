"""`elmo download`."""

import hashlib
from pathlib import Path

import pytest
from tests.checkpoints import web as pages
from tests.checkpoints.web import Web

from elmokit.checkpoints.registry import published_models
from elmokit.cli import download
from elmokit.cli.commands.models import known_models
from elmokit.cli.main import main

SMALL = published_models()["allennlp/small"]
PARTS = published_models()["t-systems/de-lm"]


@pytest.fixture
def mirror(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the web."""
    for file in SMALL.files:
        place = tmp_path / "mirror" / file.urls[1].removeprefix("https://")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.name.encode())
    monkeypatch.setenv("ELMOKIT_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


@pytest.mark.parametrize("name", ["allennlp/small", SMALL.files[0].urls[1], SMALL.files[1].urls[0]])
def test_it_says_where_and_what(mirror: Path, own_cache: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, file in zip(lines, SMALL.files, strict=False):
        path = own_cache / "models" / "allennlp" / "small" / file.name
        assert line.startswith(f"{path}  {len(file.name)} bytes  SHA-256 {hashlib.sha256(file.name.encode()).hexdigest()}  ")
        assert path.read_bytes() == file.name.encode()
        assert "no published checksum" in line
    assert lines[-1] == "license: Apache-2.0"
    (entry,) = (entry for entry in known_models() if entry["name"] == "allennlp/small")
    assert entry["here"]


def test_a_bundled_model_is_here_already(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "en-small"]) == 0
    assert "model.safetensors" in capsys.readouterr().out


def test_to_a_folder_of_the_users_own(mirror: Path, tmp_path: Path, own_cache: Path) -> None:
    download("allennlp/small", out=tmp_path / "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {file.name for file in SMALL.files}
    assert not (own_cache / "models").exists()


def test_what_is_there_is_verified(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = own_cache / "models" / "t-systems" / "de-lm"
    folder.mkdir(parents=True)
    (folder / "bilm-output-result.tgz").write_bytes(b"damaged")
    assert main(["download", "t-systems/de-lm"]) == 2
    assert "bilm-output-result.tgz: MD5 is" in capsys.readouterr().err


def test_an_address_that_is_not_in_the_list(web: Web, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = web.url("/elmo.zip", pages.file(b"PK"))
    assert main(["download", url]) == 0
    assert f"elmo.zip  2 bytes  SHA-256 {hashlib.sha256(b'PK').hexdigest()}" in capsys.readouterr().out
    assert main(["download", url, "--out", "x"]) == 2
    assert "--out is for published models" in capsys.readouterr().err


def test_what_cannot_be_had(
    web: Web, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ELMOKIT_MIRROR", web.url("/", pages.gone))
    assert main(["download", "manylangs/zhs"]) == 2
    message = capsys.readouterr().err
    assert "the server answers 404" in message
    assert "not checked" in message
    assert "reported dead" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "advice"), [("nothing", "`elmo models` lists"), ("allennlp-original", "did you mean allennlp/original")]
)
def test_no_such_name(own_cache: Path, name: str, advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", name]) == 2
    assert f"elmo: {name}: no published model, no address and no model of the Hub; {advice}" in capsys.readouterr().err


def test_offline(own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["download", "allennlp/small"]) == 2
    assert "nothing is fetched with HF_HUB_OFFLINE=1" in capsys.readouterr().err
