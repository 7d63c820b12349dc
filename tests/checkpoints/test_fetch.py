"""Names that are no path: published models and addresses, loaded from a server or a folder that stands in for the web."""

import io
import socket
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.checkpoints import web as pages
from tests.checkpoints.small_models import full_checkpoint, same_tensors
from tests.checkpoints.web import Web
from tests.golden.cases import DATA

from elmokit import Elmo
from elmokit.checkpoints import fetch as fetch_module
from elmokit.checkpoints.fetch import Source, as_address, fetch_published_file, locate
from elmokit.checkpoints.folder import save_folder
from elmokit.checkpoints.hdf5 import save_hdf5
from elmokit.checkpoints.load import load_checkpoint
from elmokit.checkpoints.registry import published_models
from elmokit.cli import convert
from elmokit.cli.commands.info import describe

EXPECTED = full_checkpoint()
HOST = "s3-us-west-2.amazonaws.com/allennlp/models/elmo"
STEM = "2x4096_512_2048cnn_2xhighway/elmo_2x4096_512_2048cnn_2xhighway_5.5B_"
MODEL = published_models()["allennlp/original-5.5b"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*the published layout cannot hold:UserWarning"),
    pytest.mark.usefixtures("own_cache"),
]


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    save_hdf5(EXPECTED, tmp_path / "hdf5")
    return tmp_path / "hdf5"


@pytest.fixture
def mirror(hdf5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the web and holds two models; no socket is opened."""
    for url in (
        *(file.urls[0] for file in MODEL.files),
        *(f"https://example.org/m/my_{end}" for end in ("options.json", "weights.hdf5")),
    ):
        place = tmp_path / "mirror" / url.removeprefix("https://")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((hdf5 / ("options.json" if url.endswith(".json") else "weights.hdf5")).read_bytes())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("ELMOKIT_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


@pytest.mark.parametrize(
    "name",
    [
        "allennlp/original-5.5b",
        Path("allennlp/original-5.5b"),
        MODEL.files[1].urls[0],
        MODEL.files[1].urls[1],
        MODEL.files[0].urls[0],
        Path(MODEL.files[1].urls[0]),
        "https://example.org/m/my_weights.hdf5",
        "https://example.org/m/my_options.json",
    ],
    ids=str,
)
def test_a_name_or_an_address(mirror: Path, name: str | Path) -> None:
    elmo = Elmo.from_pretrained(name, local_files_only=True)
    assert same_tensors(dict(elmo.bilm.state_dict()), EXPECTED.bilm)


def test_what_the_registry_knows_is_filled_in(mirror: Path) -> None:
    elmo = Elmo.from_pretrained("allennlp/original-5.5b")
    assert elmo.config.languages == ("en",)
    assert elmo.config.license == "Apache-2.0"
    assert elmo.checkpoint.origin.startswith("allennlp/original-5.5b: ")
    assert Elmo.from_pretrained("https://example.org/m/my_weights.hdf5").config.license is None


def test_info_says_what_the_registry_knows(mirror: Path) -> None:
    facts = describe("allennlp/original-5.5b")
    assert facts["languages"] == ["en"]
    assert set(facts["files"]) == {file.name for file in MODEL.files}


def test_a_path_comes_before_a_published_name(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_folder(EXPECTED, tmp_path / "allennlp" / "original-5.5b")
    assert load_checkpoint("allennlp/original-5.5b").config.license == "CC0"


def test_a_server_stands_in_for_the_web(hdf5: Path, web: Web, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which breaks off in the middle of the weights."""
    weights = (hdf5 / "weights.hdf5").read_bytes()
    monkeypatch.setenv("ELMOKIT_MIRROR", web.url("/", pages.gone))
    for file in MODEL.files:
        path = "/" + file.urls[0].removeprefix("https://")
        if file.name.endswith(".json"):
            web.url(path, pages.file((hdf5 / "options.json").read_bytes()))
        else:
            web.url(path, pages.file(weights, cut=len(weights) // 2), pages.file(weights))
    assert same_tensors(load_checkpoint("allennlp/original-5.5b").bilm, EXPECTED.bilm)
    asked = len(web.requests)
    assert same_tensors(load_checkpoint("allennlp/original-5.5b").bilm, EXPECTED.bilm)
    assert len(web.requests) == asked == 3
    assert {path.name for path in (own_cache / "models/allennlp/original-5.5b").iterdir()} == {file.name for file in MODEL.files}


def test_an_address_of_its_own(hdf5: Path, web: Web, tmp_path: Path) -> None:
    web.url("/my/options.json", pages.file((hdf5 / "options.json").read_bytes()))
    url = web.url("/my/weights.hdf5", pages.file((hdf5 / "weights.hdf5").read_bytes()))
    elmo = Elmo.from_pretrained(url, cache_dir=tmp_path / "mine")
    assert same_tensors(dict(elmo.bilm.state_dict()), EXPECTED.bilm)
    assert list((tmp_path / "mine").rglob("weights.hdf5"))


@pytest.mark.parametrize("local_files_only", [True, False])
def test_offline(own_cache: Path, monkeypatch: pytest.MonkeyPatch, local_files_only: bool, web: Web) -> None:
    if not local_files_only:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("allennlp/small", web.url("/weights.hdf5", pages.file(b"x"))):
        with pytest.raises(ValueError, match="not there, and nothing is fetched with HF_HUB_OFFLINE=1 or local_files_only"):
            Elmo.from_pretrained(name, local_files_only=local_files_only)
    with pytest.raises(ValueError, match="me/small: not in the Hub's cache on this machine"):
        Elmo.from_pretrained("me/small", cache_dir=own_cache, local_files_only=local_files_only)
    assert web.requests == []


@pytest.mark.parametrize("inside", ["", "uniref50_v2/"])
def test_an_archive_of_the_list(hdf5: Path, web: Web, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    """Its files at the top, or in a folder as in SeqVec's."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("options.json", "weights.hdf5"):
            archive.write(hdf5 / name, f"{inside}{name}")
    monkeypatch.setenv("ELMOKIT_MIRROR", web.url("/", pages.gone))
    web.url("/rostlab.org/~deepppi/seqvec.zip", pages.file(packed.getvalue()))
    assert same_tensors(load_checkpoint("seqvec/uniref50").bilm, EXPECTED.bilm)


def test_a_dead_address_is_said_to_be_dead(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMOKIT_MIRROR", web.url("/", pages.gone))
    with pytest.raises(ValueError, match=r"manylangs/zhs: .* answers 404 .*; its address is reported dead"):
        load_checkpoint("manylangs/zhs")


def test_the_chinese_model_wants_traditional_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said once; a model folder made of it keeps that in its language, and `elmo info` shows it."""
    monkeypatch.setenv("ELMOKIT_MIRROR", str(tmp_path))
    place = tmp_path / "vectors.nlpl.eu" / "repository" / "11" / "179.zip"
    place.parent.mkdir(parents=True)
    with zipfile.ZipFile(place, "w") as archive:
        for path in (DATA / "models/manylangs_word_char").iterdir():
            archive.write(path, path.name)
    with pytest.warns(UserWarning, match="trained on traditional characters") as said:
        convert("manylangs/zh", tmp_path / "converted")
    assert len(said) == 1
    facts = describe(str(tmp_path / "converted"))
    assert (facts["languages"], facts["tokenizer"]) == (["zh-Hant"], "words")


def test_a_revision_is_for_the_hub(mirror: Path, hdf5: Path) -> None:
    for name in ("en-small", "allennlp/small", hdf5):
        with pytest.raises(ValueError, match="revision is for models of the Hub"):
            Elmo.from_pretrained(name, revision="main")


@pytest.mark.parametrize("name", ["no/such/weights.hdf5", "models/weights.hdf5", "models/elmo.zip", "checkpoints/options.json"])
def test_a_mistyped_path_is_not_asked_of_the_hub(name: str) -> None:
    assert locate(name, Source()) is None
    with pytest.raises(ValueError, match=f"{name}: no such model, file or folder"):
        load_checkpoint(name)


def test_nor_a_missing_file_of_a_folder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert locate("models/elmo", Source()) is None


def test_the_hub_is_asked_with_all_that_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []

    def fetch(repo_id: str, **options: object) -> Path:
        asked.append((repo_id, options))
        return tmp_path / "model"

    save_folder(EXPECTED, tmp_path / "model")
    monkeypatch.setattr(fetch_module, "download_from_hub", fetch)
    Elmo.from_pretrained("me/small", revision="v2", cache_dir="c", local_files_only=True, token="hf_x")
    Elmo.from_pretrained("https://huggingface.co/me/small/tree/v3")
    options = {"revision": "v2", "cache_dir": "c", "local_files_only": True, "token": "hf_x"}
    assert asked == [
        ("me/small", options),
        ("me/small", {"revision": "v3", "cache_dir": None, "local_files_only": False, "token": None}),
    ]


def test_one_file_of_a_model(mirror: Path, own_cache: Path) -> None:
    """As AllenNLP's classes ask for options and weights one by one."""
    options, weights = (fetch_published_file(file.urls[1]) for file in MODEL.files)
    assert options.name == MODEL.files[0].name
    assert options.parent == weights.parent == own_cache / "models" / "allennlp" / "original-5.5b"
    assert fetch_published_file("https://example.org/m/my_options.json").read_bytes() == options.read_bytes()
    with pytest.raises(ValueError, match="ELMOKIT_MIRROR is"):
        fetch_published_file("https://example.org/m/other.json")


def test_addresses_that_went_through_a_path() -> None:
    assert as_address("https:/example.org/a") == "https://example.org/a"
    assert as_address("S3:/allennlp/a") == "s3://allennlp/a"
    assert as_address("https://example.org//a") == "https://example.org//a"
    assert as_address("folder/https:/x") == "folder/https:/x"


def test_the_registry_does_not_overrule_the_model(mirror: Path) -> None:
    known = replace(EXPECTED, config=replace(EXPECTED.config, languages=("xx",), license="mine"))
    config = fetch_module.with_facts(known, "allennlp/original-5.5b").config
    assert (config.languages, config.license) == (("xx",), "mine")
    assert fetch_module.with_facts(known, "en-small") is known
