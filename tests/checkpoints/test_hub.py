"""Models of the Hub, against a small Hub on this machine: by its own client, in a process that knows no other Hub."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from tests.checkpoints.fake_hub import Hub, Repository
from tests.checkpoints.small_models import SMALL, full_checkpoint, same_tensors, words_checkpoint
from tests.checkpoints.web import Web
from tests.golden.cases import DATA

from elmokit.checkpoints.folder import save_folder
from elmokit.checkpoints.hub import hub_id
from elmokit.checkpoints.load import load_checkpoint

MANYLANGS = DATA / "models/manylangs_word_char"

# Every line is a question, and is answered by a line: the result, or the error.
ASK = """
import sys
from collections.abc import Mapping
from pathlib import Path
from elmokit.checkpoints.hub import download_from_hub, upload_to_hub
for question in sys.argv[1:]:
    try:
        print(eval(question))
    except Exception as error:
        print(type(error).__name__, *str(error).split())
"""


class Asking:
    """Questions to the hub's functions, asked in another process."""

    def __init__(self, hub: Hub, home: Path) -> None:
        self.hub, self.home = hub, home

    def __call__(self, *questions: str, code: str = ASK, **environment: str) -> list[str]:
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        own = {
            "HF_ENDPOINT": self.hub.address,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
        }
        environment = clean | own | {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_SYMLINKS_WARNING": "1"} | environment
        command = [sys.executable, "-c", code, *questions]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()


@pytest.fixture
def hub(web: Web) -> Hub:
    return Hub(web)


@pytest.fixture
def ask(hub: Hub, tmp_path: Path) -> Asking:
    return Asking(hub, tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_folder(full_checkpoint(SMALL), tmp_path / "model")
    return tmp_path / "model"


def published(hub: Hub, folder: Path, name: str = "me/small", others: Mapping[str, bytes] | None = None) -> Repository:
    """Put the files of a folder on the Hub."""
    hub.repositories[name] = Repository()
    hub.repositories[name].commit("main", {path.name: path.read_bytes() for path in folder.iterdir()} | dict(others or {}))
    return hub.repositories[name]


def word_table(folder: Path) -> None:
    """A model that looks words up."""
    save_folder(words_checkpoint(), folder)


def words_and_characters(folder: Path) -> None:
    """A model of ELMoForManyLangs as a model folder."""
    save_folder(load_checkpoint(MANYLANGS), folder)


def manylangs(folder: Path) -> None:
    """The same as it was published; its architecture is in a file of its own."""
    shutil.copytree(MANYLANGS, folder)


@pytest.mark.parametrize("write", [None, word_table, words_and_characters, manylangs])
def test_there_and_back(hub: Hub, ask: Asking, folder: Path, write: Callable[[Path], None] | None) -> None:
    if write is not None:
        shutil.rmtree(folder)
        write(folder)
    upload = f"upload_to_hub(Path({str(folder)!r}), 'me/small', token='hf_right', private=True, commit_message='first')"
    where, path = ask(upload, "download_from_hub('me/small', token='hf_right')")
    repository = hub.repositories["me/small"]
    assert repository.private
    assert repository.messages == ["first"]
    assert where == f"{hub.address}/me/small/commit/{repository.branches['main']}"
    back, there = load_checkpoint(path), load_checkpoint(folder)
    assert same_tensors(back.bilm, there.bilm)
    assert (back.config, back.input_words, back.input_characters) == (there.config, there.input_words, there.input_characters)
    assert {file.name for file in Path(path).iterdir()} == {file.name for file in folder.iterdir()}


def test_once_here_it_needs_no_network(hub: Hub, web: Web, ask: Asking, folder: Path) -> None:
    published(hub, folder)
    (first,) = ask("download_from_hub('me/small')")
    asked = len(web.requests)
    assert ask("download_from_hub('me/small', local_files_only=True)") == [first]
    assert ask("download_from_hub('me/small')", HF_HUB_OFFLINE="1") == [first]
    assert len(web.requests) == asked


def test_what_is_not_here_is_not_fetched_offline(hub: Hub, web: Web, ask: Asking, folder: Path) -> None:
    published(hub, folder)
    (answer,) = ask("download_from_hub('me/small', local_files_only=True)")
    assert answer == "ValueError me/small: not in the Hub's cache on this machine, and not fetched (local_files_only)"
    fetch, upload = ask("download_from_hub('me/small')", f"upload_to_hub(Path({str(folder)!r}), 'me/x')", HF_HUB_OFFLINE="1")
    assert fetch.endswith("and not fetched (HF_HUB_OFFLINE=1)")
    assert upload.startswith("ValueError push_to_hub: HF_HUB_OFFLINE is set")
    assert web.requests == []


def test_a_revision_is_a_branch_or_a_commit(hub: Hub, ask: Asking, folder: Path, tmp_path: Path) -> None:
    save_folder(full_checkpoint(SMALL), tmp_path / "half", "float16")
    upload = "upload_to_hub(Path({!r}), 'me/small', token='hf_right', revision={!r})".format
    main, half = ask(
        f"upload_to_hub(Path({str(folder)!r}), 'me/small', token='hf_right')",
        upload(str(tmp_path / "half"), "half"),
        upload(str(tmp_path / "half"), "half"),
    )[:2]
    assert main != half
    commit = hub.repositories["me/small"].branches["half"]
    fetch = "download_from_hub('me/small', cache_dir={!r}, revision={!r})".format
    by_branch, by_commit, by_main, unknown = ask(*(fetch(str(tmp_path / "c"), name) for name in ("half", commit, "main", "none")))
    assert by_branch == by_commit == str(tmp_path / "c" / "models--me--small" / "snapshots" / commit)
    assert by_main != by_branch
    assert unknown == "ValueError me/small: has no revision none; see its page for branches and tags"


def card_of(hub: Hub, name: str = "me/small") -> str:
    return hub.repositories[name].commits[hub.repositories[name].branches["main"]]["README.md"].decode()


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        ("CC BY-SA 3.0", {"license": "cc-by-sa-3.0"}),
        ("My: own\n---\nlicence", {"license": "other", "license_name": "my-own-licence"}),
        ("1.0", {"license": "other", "license_name": "1.0"}),
        (None, {}),
    ],
)
def test_a_card_is_written_if_there_is_none(
    hub: Hub, ask: Asking, folder: Path, license: str | None, expected: dict[str, str]
) -> None:
    """Its head says what is known, in words that the Hub takes."""
    (folder / "README.md").unlink()
    ask(f"upload_to_hub(Path({str(folder)!r}), 'me/small', token='hf_right', languages=('en', 'zh'), license={license!r})")
    _, head, body = card_of(hub).split("---\n")
    expected_languages = {"library_name": "elmokit", "tags": ["elmo"], "language": ["en", "zh"]}
    assert yaml.safe_load(head) == expected_languages | expected
    assert 'Elmo.from_pretrained("me/small")' in body
    assert license is None or f"Its licence: {' '.join(license.split())}." in body


def test_only_what_a_model_needs_is_fetched(hub: Hub, web: Web, ask: Asking, folder: Path) -> None:
    published(hub, folder, others={"training.log": b"x", "optimizer.pt": b"x"})
    (path,) = ask("download_from_hub('me/small')")
    assert not {"training.log", "optimizer.pt"} & {file.name for file in Path(path).iterdir()}


def test_an_unpacked_task_archive_comes_with_its_options(hub: Hub, ask: Asking) -> None:
    options = "fta/model.text_field_embedder.token_embedder_elmo.options_file"
    hub.repositories["them/task"] = Repository()
    hub.repositories["them/task"].commit("main", {"config.json": b"{}", "weights.th": b"x", options: b"{}", "metrics.json": b""})
    (path,) = ask("download_from_hub('them/task')")
    files = {file.relative_to(path).as_posix() for file in Path(path).rglob("*") if file.is_file()}
    assert files == {"config.json", "weights.th", options}


def test_another_kind_of_model_is_declined_before_its_weights_come(hub: Hub, web: Web, ask: Asking) -> None:
    hub.repositories["them/bert"] = Repository()
    hub.repositories["them/bert"].commit("main", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x" * 100})
    (answer,) = ask("download_from_hub('them/bert')")
    assert answer == "FormatError them/bert: is a model of the type 'bert', not an ELMo"
    assert not [request for request in web.requests if "safetensors" in request.path]


def test_an_archive_alone_is_the_model(hub: Hub, ask: Asking) -> None:
    hub.repositories["them/zip"] = Repository()
    hub.repositories["them/zip"].commit("main", {"README.md": b"# x", "elmo.zip": b"PK", ".gitattributes": b""})
    (answer,) = ask("download_from_hub('them/zip')")
    assert Path(answer).name == "elmo.zip"


def test_who_may_not_is_told_so(hub: Hub, ask: Asking, folder: Path) -> None:
    published(hub, folder, "me/private").private = True
    published(hub, folder, "me/gated")
    hub.gated.add("me/gated")
    upload = f"upload_to_hub(Path({str(folder)!r}), 'me/new', token='hf_wrong')"
    nowhere, private, gated, written = ask(
        *(f"download_from_hub('me/{name}')" for name in ("nowhere", "private", "gated")), upload
    )
    assert nowhere.startswith("ValueError me/nowhere: the Hub has no such model, or it is private: give a token")
    assert private.startswith("ValueError me/private: the Hub has no such model, or it is private")
    assert gated.startswith("ValueError me/gated: its owner asks who you are")
    assert written.startswith("ValueError me/new: ")
    assert "401" in written
    assert "me/new" not in hub.repositories


def test_no_connection(ask: Asking, folder: Path) -> None:
    ask.hub.address = "http://127.0.0.1:9"
    fetch, upload = ask("download_from_hub('me/small')", f"upload_to_hub(Path({str(folder)!r}), 'me/small', token='hf_right')")
    assert fetch == "ValueError me/small: not in the Hub's cache on this machine, and not fetched (no connection to the Hub)"
    assert upload.startswith("ValueError me/small: the Hub could not be reached (")


def test_by_the_class(hub: Hub, ask: Asking, folder: Path) -> None:
    """`Elmo.push_to_hub`, and the same model by its id and by its page's address."""
    (folder / "README.md").unlink()
    code = """
import sys
from elmokit import Elmo
elmo = Elmo.from_pretrained(sys.argv[1])
print(elmo.push_to_hub("me/small", token="hf_right", private=False))
again = [Elmo.from_pretrained("me/small"), Elmo.from_pretrained("https://huggingface.co/me/small/tree/main")]
print([bool((one.encode("银行 river") == elmo.encode("银行 river")).all()) for one in again])
try:
    Elmo.from_pretrained("allennlp/orignal")
except ValueError as error:
    print(error)
"""
    where, same, misspelt = ask(str(folder), code=code)
    assert where.startswith(hub.address)
    assert 'language:\n- en\n- zh\nlicense: other\nlicense_name: "cc0"\n---' in card_of(hub)
    assert same == "[True, True]"
    assert misspelt.startswith("allennlp/orignal: the Hub has no such model")
    assert "Published models with a name like it: allennlp/original" in misspelt


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("me/small", ("me/small", None)),
        ("me/Small_1.0", ("me/Small_1.0", None)),
        ("https://huggingface.co/me/small", ("me/small", None)),
        ("https://huggingface.co/me/small/", ("me/small", None)),
        ("https://hf.co/me/small/tree/v2", ("me/small", "v2")),
        ("small", None),
        ("./me/small", None),
        ("/me/small", None),
        ("~/small", None),
        ("../small", None),
        ("a/b/c", None),
        ("https://example.org/me/small", None),
        ("https://huggingface.co/me", None),
        ("me/small name", None),
    ],
)
def test_what_is_a_name_of_the_hub(name: str, expected: tuple[str, str | None] | None) -> None:
    assert hub_id(name) == expected
