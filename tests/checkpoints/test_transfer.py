"""Downloads from a server that cuts, lies, stalls, redirects and forgets: whole and right, or refused with a reason."""

import errno
import hashlib
import http.client
import io
import random
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import namedtuple
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.checkpoints import web as pages
from tests.checkpoints.web import Web, serving

from elmokit.checkpoints import transfer
from elmokit.checkpoints.published import RemoteFile
from elmokit.checkpoints.transfer import CHUNK, DownloadError, Patience, download

BODY = random.Random(5).randbytes(700_000)
OTHER = random.Random(6).randbytes(700_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
QUICK = Patience(timeout=5, tries=3, pause=0.01)

pytestmark = pytest.mark.usefixtures("own_cache")


def fetch(
    folder: Path,
    *urls: str,
    patience: Patience = QUICK,
    size: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
) -> bytes:
    """Download to `folder/weights.hdf5`; nothing else may be left there."""
    remote = RemoteFile(name="weights.hdf5", urls=urls, size=size, sha256=sha256, md5=md5)
    download(remote, folder / "weights.hdf5", patience, show_progress=False)
    assert [path.name for path in folder.iterdir()] == ["weights.hdf5"]
    return (folder / "weights.hdf5").read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def test_a_whole_file(web: Web, folder: Path) -> None:
    assert fetch(folder, web.url("/a", pages.file(BODY)), size=len(BODY), sha256=SHA256, md5=MD5) == BODY
    (request,) = web.asked("/a")
    assert "Range" not in request.headers
    assert request.headers["User-Agent"].startswith("elmokit/")


def test_an_empty_file(web: Web, folder: Path) -> None:
    assert fetch(folder, web.url("/a", pages.file(b""))) == b""


def test_a_cut_is_resumed_where_it_was(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(BODY, cut=400_000), pages.file(BODY))
    assert fetch(folder, url, sha256=SHA256) == BODY
    _, second = web.asked("/a")
    assert second.headers["Range"] == "bytes=400000-"
    assert second.headers["If-Range"] == '"one"'


def test_a_later_run_goes_on(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(BODY, cut=500_000))
    with pytest.raises(DownloadError, match=r"ended after 500,000 of 700,000 bytes, 1 times in a row; .*goes on from there"):
        fetch(folder, url, patience=Patience(tries=1))
    assert not (folder / "weights.hdf5").exists()
    web.url("/a", pages.file(BODY))
    assert fetch(folder, url) == BODY
    assert web.asked("/a")[-1].headers["Range"] == "bytes=500000-"


def test_a_run_that_was_killed_before_the_renaming(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(BODY))
    (folder / ".weights.hdf5.part").write_bytes(BODY)
    note = f'{{"url": "{url}", "validator": "\\"one\\"", "total": {len(BODY)}}}'
    (folder / ".weights.hdf5.part.json").write_text(note, encoding="utf-8")
    assert fetch(folder, url) == BODY
    assert web.asked("/a") == []


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": 3, "validator": 4}', None])
def test_a_part_without_a_good_note_is_not_used(web: Web, folder: Path, note: str | None) -> None:
    (folder / ".weights.hdf5.part").write_bytes(OTHER[:1000])
    if note is not None:
        (folder / ".weights.hdf5.part.json").write_text(note, encoding="utf-8")
    assert fetch(folder, web.url("/a", pages.file(BODY))) == BODY


@settings(max_examples=20)
@given(
    cuts=st.lists(st.integers(0, 1500), max_size=6), heeds_range=st.booleans(), etag=st.sampled_from([None, '"one"', 'W/"one"'])
)
def test_whatever_the_cuts(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], heeds_range: bool, etag: str | None
) -> None:
    folder, body = tmp_path_factory.mktemp("cuts"), BODY[:1500]
    answers = [pages.file(body, etag, cut=cut, heeds_range=heeds_range) for cut in cuts]
    with serving() as web:
        url = web.url("/a", *answers, pages.file(body, etag))
        assert fetch(folder, url, patience=Patience(timeout=5, tries=8, pause=0)) == body


def test_a_server_that_ignores_ranges(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(BODY, cut=400_000), pages.file(BODY, heeds_range=False))
    assert fetch(folder, url) == BODY


def test_without_an_identity_nothing_is_resumed(web: Web, folder: Path) -> None:
    """Two halves could be of two files."""
    url = web.url("/a", pages.file(BODY, None, cut=400_000), pages.file(OTHER, None))
    assert fetch(folder, url) == OTHER
    assert "Range" not in web.asked("/a")[1].headers


def test_a_weak_identity_is_none(web: Web, folder: Path) -> None:
    """It stays the same when bytes change (RFC 9110, section 8.8.1)."""
    url = web.url("/a", pages.file(BODY, 'W/"one"', cut=400_000), pages.file(OTHER, 'W/"one"'))
    assert fetch(folder, url) == OTHER


def test_what_came_from_another_address_is_not_used(web: Web, folder: Path) -> None:
    """Two servers may call different files by the same name."""
    cut, other = web.url("/a", pages.file(BODY, cut=400_000)), web.url("/b", pages.file(OTHER))
    assert fetch(folder, cut, other, patience=Patience(tries=1)) == OTHER


def test_tries_are_counted_from_the_last_that_brought_something(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(BODY * 3, cut=300_000))
    assert fetch(folder, url, patience=Patience(tries=2, pause=0)) == BODY * 3
    assert len(web.asked("/a")) == 7


def test_an_old_part_of_something_else_is_no_measure(web: Web, folder: Path) -> None:
    (folder / ".weights.hdf5.part").write_bytes(OTHER * 9)
    assert fetch(folder, web.url("/a", pages.file(BODY * 3, cut=300_000)), patience=Patience(tries=2, pause=0)) == BODY * 3


def test_what_is_lost_and_comes_again_is_no_progress(web: Web, folder: Path) -> None:
    """Nothing can be resumed, and long and short answers come in turn: not one of them is nearer to the end."""
    long, short = pages.file(BODY * 3, None, cut=3 * CHUNK), pages.file(BODY * 3, None, cut=CHUNK)
    url = web.url("/a", *[short, long] * 4, pages.file(BODY * 3, None))
    with pytest.raises(DownloadError, match="of 2,100,000 bytes, 3 times in a row"):
        fetch(folder, url)
    assert len(web.asked("/a")) == 4


def test_a_file_that_changed_meanwhile(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(BODY, cut=400_000), pages.file(OTHER, '"two"'))
    assert fetch(folder, url) == OTHER


def test_a_file_that_changed_and_a_server_that_does_not_care(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(BODY, cut=400_000), pages.file(OTHER, '"two"', checks=False))
    assert fetch(folder, url) == OTHER
    assert ["Range" in request.headers for request in web.asked("/a")] == [False, True, False]


def test_a_mixture_is_found_by_its_checksum_and_fetched_anew(web: Web, folder: Path) -> None:
    """The server says that the file is the same, and it is not."""
    url = web.url("/a", pages.file(OTHER, cut=400_000), pages.file(BODY))
    assert fetch(folder, url, sha256=SHA256) == BODY
    assert ["Range" in request.headers for request in web.asked("/a")] == [False, True, False]


def test_a_part_that_is_longer_than_the_file_is_now(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(BODY, cut=400_000), pages.file(BODY[:1000], checks=False))
    assert fetch(folder, url) == BODY[:1000]


def test_a_wrong_length(web: Web, folder: Path) -> None:
    """Content-Length promises more than ever comes."""
    url = web.url("/a", pages.file(BODY, None, cut=1000))
    with pytest.raises(DownloadError, match=r"/a: the connection ended after 1,000 of 700,000 bytes, 3 times in a row"):
        fetch(folder, url)
    assert len(web.asked("/a")) == 3


def test_a_wrong_checksum(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.file(OTHER))
    with pytest.raises(DownloadError, match=rf"/a: SHA-256 is \w+, expected {SHA256}"):
        fetch(folder, url, sha256=SHA256)
    with pytest.raises(DownloadError, match=rf"/a: MD5 is \w+, expected {MD5}"):
        fetch(folder, url, md5=MD5)
    assert list(folder.iterdir()) == []
    assert len(web.asked("/a")) == 2


def test_another_size_is_refused_before_a_byte_is_kept(web: Web, folder: Path) -> None:
    with pytest.raises(DownloadError, match=r"has 700,000 bytes, the published file has 700,001"):
        fetch(folder, web.url("/a", pages.file(BODY)), size=700_001)
    assert list(folder.iterdir()) == []


def test_an_answer_that_does_not_end_in_time(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match="sends more than the 1,000 bytes expected"):
        fetch(folder, web.url("/a", pages.chunked(*[BODY] * 20)), size=1000)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(transfer, "LARGEST", 500_000)
    with pytest.raises(DownloadError, match="sends more than the 500,000 bytes"):
        fetch(folder, web.url("/a", pages.chunked(BODY)))
    with pytest.raises(DownloadError, match="would have 700,000 bytes, more than any model has"):
        fetch(folder, web.url("/a", pages.file(BODY)))
    assert list(folder.iterdir()) == []


def test_chunks_that_end_are_a_whole(web: Web, folder: Path) -> None:
    assert fetch(folder, web.url("/a", pages.chunked(BODY[:1000], BODY[1000:], end=False), pages.chunked(BODY))) == BODY


def test_an_answer_whose_end_is_not_told(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.endless_by_hanging_up(BODY))
    with pytest.raises(DownloadError, match="does not say how long the file is"):
        fetch(folder, url)
    assert fetch(folder, url, sha256=SHA256) == BODY


def test_no_room_on_the_disk(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5, 5))
    with pytest.raises(OSError, match=str(folder)) as caught:
        fetch(folder, web.url("/a", pages.file(BODY)))
    assert caught.value.errno == errno.ENOSPC
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_the_disk_fills_up_on_the_way(web: Web, folder: Path) -> None:
    """A limit on the size of files gives the same kind of error. What came stays, to go on from when there is room."""
    url = web.url("/a", pages.file(BODY))
    code = f"""
import resource
from pathlib import Path
from elmokit.checkpoints.published import RemoteFile
from elmokit.checkpoints.transfer import download
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    download(RemoteFile(name="weights.hdf5", urls=({url!r},)), Path({str(folder / "weights.hdf5")!r}))
except OSError as error:
    print(error.errno, error.filename)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == [str(errno.EFBIG), str(folder / "weights.hdf5")], result.stderr
    assert fetch(folder, url) == BODY
    assert web.asked("/a")[1].first == 500_000


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web: Web, folder: Path, code: int) -> None:
    web.url("/b", pages.file(BODY, cut=400_000), pages.file(BODY))
    assert fetch(folder, web.url("/a", pages.redirect("/b", code))) == BODY
    assert web.asked("/b")[1].headers["Range"] == "bytes=400000-"


@pytest.mark.parametrize("target", ["/a", "file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/a"])
def test_redirects_that_lead_nowhere(web: Web, folder: Path, target: str) -> None:
    with pytest.raises(DownloadError, match=r"/a: redirects in a circle, too often or to where no model is fetched from"):
        fetch(folder, web.url("/a", pages.redirect(target)))
    assert list(folder.iterdir()) == []


def test_no_redirect_from_https_to_what_anyone_could_change() -> None:
    asked = urllib.request.Request("https://example.org/a", headers={"Range": "bytes=1-"})
    follow = partial(transfer._Redirects().redirect_request, asked, io.BytesIO(), 302, "Found", http.client.HTTPMessage())
    with pytest.raises(urllib.error.HTTPError, match="http://example.org/a"):
        follow("http://example.org/a")
    followed = follow("https://example.org/b")
    assert followed is not None
    assert followed.get_header("Range") == "bytes=1-"


def test_a_long_way_of_redirects(web: Web, folder: Path) -> None:
    for step in range(30):
        web.url(f"/{step}", pages.redirect(f"/{step + 1}"))
    with pytest.raises(DownloadError, match="too often"):
        fetch(folder, web.url("/0", pages.redirect("/1")))
    assert len(web.requests) < 15


@pytest.mark.parametrize(("after", "message"), [(None, "no answer in time"), (1000, "the server stopped sending")])
def test_a_stall(web: Web, folder: Path, after: int | None, message: str) -> None:
    """The server hangs up after half a minute; whoever waited for that would say something else."""
    with pytest.raises(DownloadError, match=message):
        fetch(folder, web.url("/a", pages.stall(BODY, after)), patience=Patience(timeout=1, tries=1))


def test_after_a_stall_it_goes_on(web: Web, folder: Path) -> None:
    url = web.url("/a", pages.stall(BODY, 300_000), pages.file(BODY))
    assert fetch(folder, url, patience=Patience(timeout=1, tries=2, pause=0)) == BODY
    assert web.asked("/a")[1].first > 0


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_what_will_not_change_is_asked_once(web: Web, folder: Path, code: int) -> None:
    with pytest.raises(DownloadError, match=f"/a: the server answers {code}"):
        fetch(folder, web.url("/a", pages.status(code)))
    assert len(web.asked("/a")) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_what_may_pass_is_asked_again(web: Web, folder: Path, code: int) -> None:
    assert fetch(folder, web.url("/a", pages.status(code), pages.status(code), pages.file(BODY))) == BODY
    with pytest.raises(DownloadError, match=f"the server answers {code} .*, 3 times in a row"):
        fetch(folder, web.url("/b", pages.status(code)))


def test_the_next_address_is_tried(web: Web, folder: Path) -> None:
    assert fetch(folder, web.url("/a", pages.status(404)), web.url("/b", pages.file(BODY))) == BODY
    with pytest.raises(DownloadError, match=r"/a: the server answers 404 .*; .*/c: the server answers 403"):
        fetch(folder, web.url("/a", pages.status(404)), web.url("/c", pages.status(403)))


def test_nobody_there(folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DownloadError, match="no connection"):
        fetch(folder, f"http://127.0.0.1:{port}/a")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "/etc/passwd", "http://127.0.0.1:x/a", "http:///a"])
def test_what_is_no_address(folder: Path, url: str) -> None:
    with pytest.raises(DownloadError, match=r"only http and https|is no address|no host given"):
        fetch(folder, url)


def test_names_beyond_ascii(web: Web, folder: Path) -> None:
    web.url("/m%C3%B6del%20a", pages.file(BODY))
    assert fetch(folder, web.url("/", pages.gone) + "mödel a") == BODY
