"""The list of published models: whole, without doubles, found by name and by either form of address."""

import re
from urllib.parse import urlsplit

import pytest

from elmokit.checkpoints.registry import canonical_url, find_model, published_models, similar_names

MODELS = published_models()
ORIGINAL = "models/elmo/2x4096_512_2048cnn_2xhighway/elmo_2x4096_512_2048cnn_2xhighway_weights.hdf5"
MANYLANGS = """136 ar, 137 bg, 138 ca, 139 cs, 140 cu, 141 da, 142 de, 143 el, 144 en, 145 es, 146 et, 147 eu, 148 fa, 149 fi,
150 fr, 151 ga, 152 gl, 153 grc, 154 he, 155 hi, 156 hr, 157 hu, 158 id, 159 it, 160 ja, 161 ko, 162 la, 163 lv, 164 nl, 165 nb,
166 nn, 167 pl, 168 pt, 169 ro, 170 ru, 171 sk, 172 sl, 173 sv, 174 tr, 175 ug, 176 uk, 177 ur, 178 vi, 179 zh"""


def test_names_are_two_plain_steps() -> None:
    """They become folders."""
    for name in MODELS:
        assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9.-]+", name)


def test_addresses() -> None:
    seen: set[str] = set()
    for model in MODELS.values():
        assert model.files
        assert len({file.name for file in model.files}) == len(model.files), model.name
        for file in model.files:
            assert re.fullmatch(r"[\w.-]+", file.name)
            assert not file.name.startswith(".")
            assert file.urls
            for url in file.urls:
                assert urlsplit(url).scheme in ("http", "https")
                assert canonical_url(url) == file.urls[0]
        own = {file.urls[0] for file in model.files if "options262.json" not in file.name}  # one file for all languages
        assert not own & seen, model.name
        seen |= own


def test_checksums_have_the_length_that_they_must_have() -> None:
    files = [file for model in MODELS.values() for file in (*model.files, *([model.joined] if model.joined else []))]
    assert all(re.fullmatch(r"[0-9a-f]{32}", file.md5) for file in files if file.md5)
    assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in files if file.sha256)


def test_elmoformanylangs() -> None:
    for number, code in re.findall(r"(\d+) (\w+)", MANYLANGS):
        model = MODELS[f"manylangs/{code}"]
        assert model.files[0].urls == (f"http://vectors.nlpl.eu/repository/11/{number}.zip",)
        assert model.license == "MIT"
    assert any("traditional" in note for note in MODELS["manylangs/zh"].notes)
    assert any("dead" in note for note in MODELS["manylangs/zhs"].notes)


def test_the_list_of_facts_is_all_here(shared_facts: str) -> None:
    """Every file that the shared list of facts names by its address stands in the registry."""
    files = {url for model in MODELS.values() for file in model.files for url in file.urls}
    for url in re.findall(r"https?://[^\s`]+?\.(?:zip|bz2)(?=`)", shared_facts):
        if not url.endswith("/N.zip"):
            assert url in files
    rows = re.findall(r"^\| (allennlp/\S+) \| .*?`([^`]+)`", shared_facts, re.MULTILINE)
    assert len(rows) == 8
    for name, pattern in rows:
        start, choices = re.fullmatch(r"(.*)\{(.*)\}", pattern).groups()  # type: ignore[union-attr]  # a miss fails the test
        prefix = "https://s3-us-west-2.amazonaws.com/allennlp/models/elmo/"
        expected = {f"{prefix}{start}{choice}" for choice in choices.split(",")}
        assert expected <= {file.urls[0] for file in MODELS[name].files}


@pytest.fixture
def shared_facts(request: pytest.FixtureRequest) -> str:
    text: str = (request.getfixturevalue("shared") / "PUBLISHED_MODELS.md").read_text(encoding="utf-8")
    return text


@pytest.mark.parametrize(
    "start",
    [
        "https://s3-us-west-2.amazonaws.com/allennlp/",
        "http://s3-us-west-2.amazonaws.com/allennlp/",
        "https://allennlp.s3.amazonaws.com/",
        "https://allennlp.s3-us-west-2.amazonaws.com/",
        "s3://allennlp/",
    ],
)
def test_either_form_of_address_finds_the_model(start: str) -> None:
    model = find_model(start + ORIGINAL)
    assert model is not None
    assert model.name == "allennlp/original"
    assert find_model(start + "models/elmo/other.hdf5") is None


def test_other_addresses_stay_as_they_are() -> None:
    for url in ("https://example.org/allennlp/models/elmo/x", "https://s3-us-west-2.amazonaws.com/other/models/elmo/x"):
        assert canonical_url(url) == url


def test_any_entry_of_the_nlpl_repository() -> None:
    model = find_model("nlpl/12345")
    assert model is not None
    assert model.files[0].urls == ("http://vectors.nlpl.eu/repository/20/12345.zip",)
    assert find_model("nlpl/218") is MODELS["nlpl/218"]
    assert find_model("nlpl/x") is None


def test_names_that_are_nearly_right() -> None:
    assert similar_names("allennlp/orginal")[0] == "allennlp/original"
    assert similar_names("bert-base/uncased") == []
