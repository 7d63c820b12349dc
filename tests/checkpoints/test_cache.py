"""Where fetched files are kept, how a folder or an address stands in for the web, and who waits for whom."""

import hashlib
import socket
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.checkpoints import web as pages
from tests.checkpoints.web import Web

from elmokit.checkpoints import cache as cache_module
from elmokit.checkpoints.cache import cache_folder, fetch_model, fetch_url, file_of_url, folder_of_model, is_offline
from elmokit.checkpoints.published import PublishedModel, RemoteFile
from elmokit.checkpoints.registry import published_models
from elmokit.checkpoints.transfer import DownloadError

SMALL = published_models()["allennlp/small"]
PATH = "/models/elmo/2x1024_128_2048cnn_1xhighway/elmo_2x1024_128_2048cnn_1xhighway_"
OTHER_HOST, HOST = "allennlp.s3.amazonaws.com", "s3-us-west-2.amazonaws.com/allennlp"


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def mirrored(folder: Path, host: str = HOST) -> Path:
    """A folder that stands in for the web."""
    for name in ("options.json", "weights.hdf5"):
        path = folder / f"{host}{PATH}{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ELMOKIT_CACHE", str(tmp_path / "chosen"))
    assert cache_folder() == tmp_path / "chosen"
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv("ELMOKIT_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "elmokit"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative, which the standard says to ignore")
    assert cache_folder() == tmp_path / "home" / ".cache" / "elmokit"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "home" / "Library" / "Caches" / "elmokit"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "elmokit" / "Cache"


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("", False), ("no", False)]
)
def test_offline(monkeypatch: pytest.MonkeyPatch, value: str, offline: bool) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert is_offline() is offline
    assert is_offline(local_files_only=True)


@pytest.mark.parametrize("host", [HOST, OTHER_HOST])
def test_a_folder_stands_in_for_the_web(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_socket: None, host: str
) -> None:
    """Also offline, and under either form of address; what was copied once is not looked for again."""
    monkeypatch.setenv("ELMOKIT_MIRROR", str(mirrored(tmp_path / "mirror", host)))
    folder = folder_of_model(SMALL, own_cache)
    paths = fetch_model(SMALL, folder, cache=own_cache, offline=True)
    assert [path.read_bytes() for path in paths] == [b"options.json", b"weights.hdf5"]
    assert [path.name for path in paths] == [file.name for file in SMALL.files]
    monkeypatch.delenv("ELMOKIT_MIRROR")
    assert fetch_model(SMALL, folder, cache=own_cache, offline=True) == paths


def test_a_folder_that_has_not_all(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_socket: None) -> None:
    monkeypatch.setenv("ELMOKIT_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(DownloadError, match=r"options\.json: ELMOKIT_MIRROR is .*mirror, and there is no .*s3-us-west-2"):
        fetch_model(SMALL, folder_of_model(SMALL, own_cache), cache=own_cache)


def test_a_folder_is_verified_too(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMOKIT_MIRROR", str(mirrored(tmp_path / "mirror")))
    wrong = replace(SMALL, files=(replace(SMALL.files[0], sha256="0" * 64),))
    with pytest.raises(DownloadError, match="SHA-256 is"):
        fetch_model(wrong, own_cache / "x", cache=own_cache)
    assert list((own_cache / "x").iterdir()) == []


def test_an_address_stands_in_for_the_web(web: Web, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMOKIT_MIRROR", web.url("/mirror/", pages.gone))
    for name in ("options.json", "weights.hdf5"):
        web.url(f"/mirror/{OTHER_HOST}{PATH}{name}", pages.file(name.encode()))
    paths = fetch_model(SMALL, own_cache / "x", cache=own_cache)
    assert [path.read_bytes() for path in paths] == [b"options.json", b"weights.hdf5"]


def test_offline_says_what_is_missing(own_cache: Path, no_socket: None) -> None:
    with pytest.raises(
        DownloadError, match=r"elmo_2x1024\S*options\.json: not there, and nothing is fetched with HF_HUB_OFFLINE"
    ):
        fetch_model(SMALL, folder_of_model(SMALL, own_cache), cache=own_cache, offline=True)


def in_parts(web: Web, *bodies: bytes, whole: bytes) -> PublishedModel:
    files = tuple(
        RemoteFile(name=f"x.tgz.part-{n}", urls=(web.url(f"/{n}", pages.file(body)),), md5=hashlib.md5(body).hexdigest())
        for n, body in enumerate(bodies)
    )
    joined = RemoteFile(name="x.tgz", urls=(), md5=hashlib.md5(whole).hexdigest())
    return replace(SMALL, name="a/parts", files=files, joined=joined)


def test_parts_are_put_together(web: Web, own_cache: Path) -> None:
    model = in_parts(web, b"one", b"two", b"three", whole=b"onetwothree")
    (path,) = fetch_model(model, own_cache / "x", cache=own_cache)
    assert path.read_bytes() == b"onetwothree"
    assert list((own_cache / "x").iterdir()) == [path]
    fetch_model(model, own_cache / "x", cache=own_cache)
    assert len(web.requests) == 3


def test_parts_that_do_not_make_the_whole(web: Web, own_cache: Path) -> None:
    with pytest.raises(DownloadError, match=r"x\.tgz, put together from its 2 parts: MD5 is"):
        fetch_model(in_parts(web, b"one", b"two", whole=b"twoone"), own_cache / "x", cache=own_cache)
    assert not (own_cache / "x" / "x.tgz").exists()


def test_two_processes_take_turns(web: Web, own_cache: Path) -> None:
    """The file comes slowly; whoever comes second waits and finds it."""
    body = b"x" * 100_000

    def slowly(request: pages.Request) -> None:
        request.server.over.wait(1.0)
        pages.file(body)(request)

    url = web.url("/weights.hdf5", slowly)
    code = f"""
from pathlib import Path, PurePosixPath, PureWindowsPath
from elmokit.checkpoints.cache import fetch_url
print(fetch_url({url!r}, cache=Path({str(own_cache)!r})).stat().st_size)
"""
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["100000"] * 2
    assert len(web.requests) == 1


def test_whoever_waits_long_is_told_why(own_cache: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "PATIENCE_FOR_OTHERS", 0.05)
    url = web.url("/a", pages.file(b"x"))
    _, folder = file_of_url(url, own_cache)
    held = cache_module._alone(folder, own_cache)
    held.__enter__()
    real = warnings.warn

    def warn_and_let_go(*words: object, **options: object) -> None:
        held.__exit__(None, None, None)
        real(*words, **options)  # type: ignore[call-overload]  # as the code under test calls it

    monkeypatch.setattr(warnings, "warn", warn_and_let_go)
    with pytest.warns(UserWarning, match="another process is fetching"):
        assert fetch_url(url, cache=own_cache).read_bytes() == b"x"


def test_files_of_one_folder_stay_together(own_cache: Path) -> None:
    options, folder = file_of_url("https://example.org/my%20models/options.json", own_cache)
    weights, same = file_of_url("https://example.org/my%20models/weights.hdf5", own_cache)
    assert (options.name, weights.name) == ("options.json", "weights.hdf5")
    assert folder == same
    assert file_of_url("https://example.org/my%20models/weights.hdf5?key=1", own_cache)[1] != folder


def place(url: str) -> Path:
    remote, folder = file_of_url(url, Path("/cache"))
    return folder / remote.name


def test_other_addresses_are_other_files() -> None:
    """Also where a file system would not take their names as they are."""
    long, models = "m" * 150, "example.org/models"
    urls = [
        *(f"https://{models}/{name}_weights.hdf5" for name in ("a b", "a_b", "a%2520b", "a:b", "a%5Cb", "银行", "汉字")),
        *(f"https://{models}/{name}.hdf5" for name in (".x", "x", "_x", f"a{long}", f"b{long}")),
        *(f"https://{models}/{long}_{name}" for name in ("options.json", "weights.hdf5", "weights.h5")),
        *(f"https://{models}/{folder}/weights.hdf5" for folder in ("a b", "a_b", f"{long}a", f"{long}b", "..", "...")),
        *(f"{host}/models/x.hdf5" for host in ("http://example.org", "https://example.org:8443", "https://example_org")),
    ]
    places = [place(url) for url in urls]
    assert len(set(places)) == len(urls)
    assert [path.suffix for path in places] == [Path(url).suffix for url in urls]


@pytest.mark.parametrize("name", ["elmo_{}", "mödel b_{}", "m" * 200 + "_{}_100k", "汉字" * 30 + "_{}"])
def test_options_find_their_weights_whatever_their_name(name: str) -> None:
    options, weights = (place(f"https://example.org/{name.format(end)}") for end in ("options.json", "weights.hdf5"))
    assert options.with_name(options.stem.replace("options", "weights") + weights.suffix) == weights


def test_no_password_is_written_down() -> None:
    assert place("https://me:secret@example.org:80/x.hdf5") == place("https://example.org:80/x.hdf5")
    assert cache_module._below_host("https://me:secret@example.org:80/x.hdf5") == "example.org:80/x.hdf5"


@pytest.mark.parametrize(
    "url", ["https://../etc/passwd", "https://.../x", "https://a\\..\\b/x", "https://%2e%2e/x", "https:///x", "https://a:b/x"]
)
def test_what_is_no_host(url: str) -> None:
    for use in (place, cache_module._below_host):
        with pytest.raises(DownloadError, match="is no address"):
            use(url)


steps = st.sampled_from(["..", ".", "%2e%2e", "%2F", "%5C", "\\", "C:", "%20", "/", ".. ", "etc"]) | st.text(max_size=9)


@given(path=st.lists(steps, max_size=9).map("".join))
@example(path="..%5C..%5Cetc")
@example(path="C%3A/etc")
def test_no_address_leads_out_of_the_mirror(path: str) -> None:
    """On Windows neither, where a backslash parts folders and spaces at the end of a name do not count."""
    below = cache_module._below_host(f"https://example.org/{path}")
    for kind, root in ((PurePosixPath, "/mirror"), (PureWindowsPath, "M:/mirror")):
        inside = kind(f"{root}/{below}").relative_to(root)
        assert inside.parts[0] == "example.org"
        assert all(part.strip(" .") for part in inside.parts)


@given(path=st.text(max_size=60), query=st.text(max_size=20))
@example(path="../.hidden", query="")
@example(path="a./b.", query="")
def test_no_address_leads_out_of_the_cache(path: str, query: str) -> None:
    """Nor to a hidden file, nor to a name that a file system refuses."""
    cache = Path("/cache")
    try:
        remote, folder = file_of_url(f"http://example.org/{path}?{query}", cache)
    except ValueError:
        return
    steps = [*folder.relative_to(cache).parts, remote.name]
    assert ".." not in steps
    assert not any(step.startswith(".") or step.endswith(".") for step in steps)
    assert all(step and len(step) <= 100 and not set(step) & set('/\\:*?"<>|\0') for step in steps)
