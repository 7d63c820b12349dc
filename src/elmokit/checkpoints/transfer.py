"""One file from the web to this disk: whole and verified, or not at all.

What arrives is kept beside the target as `.NAME.part`, with a note of what it is a part of (`.NAME.part.json`), so that a
broken download goes on where it stopped, in the same run or a later one. It goes on only if the server says that the file is
still the same (`If-Range`). The target appears by renaming, after length and checksum were found right.

Python's own `urllib` is enough for that; the Hub's client brings another HTTP library with each of its major versions.
"""

import email.message
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from tqdm import tqdm

from elmokit.checkpoints.published import RemoteFile

LARGEST = 32 * 2**30
"""Bytes at which a file of unknown length is no model any more."""
CHUNK = 2**18
LONGEST_PAUSE = 30.0
PASSING = {408, 425, 429}
"""Answers that another try may change, beside all that blame the server (5xx)."""
URL_SIGNS = "%/:=&?~#+!$,;'@()*[]"
"""What stays as it is in an address; spaces and letters beyond ASCII are escaped."""
RANGE = re.compile(r"bytes (?P<first>[0-9]+)-[0-9]+/(?P<total>[0-9]+)")


class DownloadError(ValueError):
    """A file could not be fetched, or is not what it should be; says which, why, and what to do."""


class _BrokenError(Exception):
    """A try failed in a way that another may not."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to try."""

    timeout: float = 30.0
    """Seconds for connecting, and then without a single byte, before a try counts as failed."""
    tries: int = 4
    """Tries in a row that bring nothing before the file is given up."""
    pause: float = 1.0
    """Seconds between the first two tries; each later pause is twice as long, up to half a minute."""


@dataclass(frozen=True)
class _Part:
    """A file that is not whole yet, and the note that says of what it is a part."""

    path: Path
    note: Path

    @classmethod
    def of(cls, target: Path) -> "_Part":
        path = target.with_name(f".{target.name}.part")
        return cls(path, path.with_name(f"{path.name}.json"))

    def start(self, url: str, validator: str | None, total: int | None) -> None:
        """Note what the (still empty) file will hold."""
        self.note.write_text(json.dumps({"url": url, "validator": validator, "total": total}), encoding="utf-8")

    def resumable(self, url: str) -> tuple[int, str, int | None]:
        """Give the bytes that are here, what identifies their file, and its length; 0 bytes if they are of no use."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            if note["url"] == url and isinstance(note["validator"], str):
                return self.size(), note["validator"], note["total"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no note or a damaged one: begin anew
        return 0, "", None

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(file: RemoteFile, target: Path, patience: Patience | None = None, *, show_progress: bool | None = None) -> None:
    """Fetch a file; what an earlier, interrupted call left is used.

    The caller sees to it that no other process fetches to the same target.

    Args:
        file: What to fetch: its addresses (http or https) are tried in their order, and size and checksums are verified.
        target: The file to write. Its folder exists.
        patience: How long to wait, how often to try.
        show_progress: Whether a progress bar is shown on stderr; None shows one on a terminal.

    Raises:
        DownloadError: No address gives the file, or what comes is not the file that it should be.
        OSError: It cannot be written, for lack of space or permission.
    """
    problems: list[str] = []
    hidden = not sys.stderr.isatty() if show_progress is None else not show_progress
    with tqdm(desc=file.name, unit="B", unit_scale=True, unit_divisor=1024, disable=hidden) as bar:
        for url in file.urls:
            try:
                _download_from(url, file, target, patience or Patience(), bar)
                return
            except DownloadError as error:
                problems.append(str(error))
    raise DownloadError("; ".join(problems))


def verify(path: Path, file: RemoteFile, shown: str) -> None:
    """Compare size, SHA-256 and MD5 with what is known of the file.

    Raises:
        DownloadError: One of them differs.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise DownloadError(f"{shown}: has {size:,} bytes, the published file has {file.size:,}: it is another file, or damaged")
    for kind, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected is None:
            continue
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()
        if found != expected.lower():
            name = "SHA-256" if kind == "sha256" else "MD5"
            raise DownloadError(f"{shown}: {name} is {found}, expected {expected}: it is another file, or damaged")


def _download_from(url: str, file: RemoteFile, target: Path, patience: Patience, bar: "tqdm[Any]") -> None:
    """Fetch from one address. What was put together from pieces and is wrong is fetched once more in one piece."""
    part = _Part.of(target)
    while True:
        try:
            resumed = _complete(url, file, part, patience, bar)
        except OSError as error:  # a write to a full disk names no file
            error.filename = error.filename or str(target)
            raise
        try:
            verify(part.path, file, url)
            break
        except DownloadError:
            part.remove()
            if not resumed:
                raise
    with part.path.open("r+b") as opened:
        os.fsync(opened.fileno())
    os.replace(part.path, target)
    part.remove()


def _complete(url: str, file: RemoteFile, part: _Part, patience: Patience, bar: "tqdm[Any]") -> bool:
    """Try until the part is as long as the file; says whether it was put together from pieces."""
    failures, farthest = 0, part.resumable(url)[0]
    while True:
        try:
            return _try(url, file, part, patience, bar)
        except _BrokenError as error:
            # Without an ETag every try begins anew: only what goes beyond all tries before brings the end nearer.
            failures = 1 if part.size() >= farthest + CHUNK else failures + 1
            farthest = max(farthest, part.size())
            if failures >= patience.tries:
                again = "; the same command goes on from there" if part.size() else ""
                raise DownloadError(f"{url}: {error}, {failures} times in a row{again}") from error
            time.sleep(min(patience.pause * 2 ** (failures - 1), LONGEST_PAUSE))


def _try(url: str, file: RemoteFile, part: _Part, patience: Patience, bar: "tqdm[Any]") -> bool:
    """Ask for what is missing and write it behind what is there; says whether something was there."""
    have, validator, noted = part.resumable(url)
    if have and have == noted:
        return True  # it was whole when the run that fetched it was ended
    headers = {"User-Agent": f"elmokit/{version('elmokit')}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with _open(url, headers, patience.timeout, part) as response:
        start, total = _what_comes(response, have, validator, noted, part)
        _check_length(url, file, start, total, part)
        _check_end(url, file, total, response)
        limit = next(length for length in (file.size, total, LARGEST) if length is not None)
        bar.total, bar.n = total, start
        bar.refresh()
        done = start
        with part.path.open("ab" if start else "wb") as out:
            if not start:
                part.start(url, _validator(response.headers), total)
            while done <= limit and (chunk := _read(response)):
                done += len(chunk)
                out.write(chunk)
                bar.update(len(chunk))
    if done > limit:
        part.remove()
        raise DownloadError(f"{url}: sends more than the {limit:,} bytes expected; it is another file, or no file at all")
    whole = file.size if total is None else total
    if whole is not None and done < whole:
        raise _BrokenError(f"the connection ended after {done:,} of {whole:,} bytes")
    return start > 0


def _open(url: str, headers: dict[str, str], timeout: float, part: _Part) -> Any:
    """Send the request.

    Raises:
        _BrokenError: No connection, or an answer that may pass.
        DownloadError: An answer that will stay.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: only http and https addresses can be fetched")
    try:
        return _opener().open(urllib.request.Request(quote(url, safe=URL_SIGNS), headers=headers), timeout=timeout)
    except http.client.InvalidURL as error:
        raise DownloadError(f"{url}: is no address ({error})") from error
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # what is here is longer than the file: it is of another one
            part.remove()
        if error.code in PASSING or error.code == 416 or error.code >= 500:
            raise _BrokenError(f"the server answers {error.code} {error.reason}") from error
        raise DownloadError(f"{url}: {_refusal(error)}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            advice = "set SSL_CERT_FILE to your certificates if you trust it"
            raise DownloadError(f"{url}: the server's certificate is not trusted ({reason.verify_message}); {advice}") from error
        raise _BrokenError(_words(reason)) from error


def _refusal(error: urllib.error.HTTPError) -> str:
    """Say what an answer means that will not change."""
    if 300 <= error.code < 400:
        return f"redirects in a circle, too often or to where no model is fetched from ({str(error.reason).splitlines()[0]})"
    gone = " (it is not there any more, or the address is wrong)" if error.code in (404, 410) else ""
    return f"the server answers {error.code} {error.reason}{gone}"


def _words(error: object) -> str:
    """A failed connection in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"no connection ({error})" if str(error) else f"no connection ({type(error).__name__})"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a few redirects, to http and https alone, and from https never back to what anyone could change on the way."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise urllib.error.HTTPError(req.full_url, code, f"to {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """What speaks http and https and nothing else, through the proxy that the environment names."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _what_comes(response: Any, have: int, validator: str, noted: int | None, part: _Part) -> tuple[int, int | None]:
    """Give the place where the answer's bytes begin and the whole file's length, if the server says it.

    Raises:
        _BrokenError: The piece is not the one asked for; the next try begins anew.
    """
    headers = response.headers
    if response.status != 206:
        length = headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    piece = RANGE.fullmatch(headers.get("Content-Range", ""))
    same = _validator(headers) in (None, validator) or headers.get("Last-Modified") == validator
    if piece is None or int(piece["first"]) != have or not same or noted not in (None, int(piece["total"])):
        part.remove()
        raise _BrokenError("the server sends another piece than the one asked for")
    return have, int(piece["total"])


def _check_length(url: str, file: RemoteFile, start: int, total: int | None, part: _Part) -> None:
    """Refuse, before a byte is written, what cannot be the file or cannot be kept."""
    if total is None:
        return
    if file.size is not None and total != file.size:
        raise DownloadError(f"{url}: has {total:,} bytes, the published file has {file.size:,}: it is another file by now")
    if total > LARGEST:
        raise DownloadError(f"{url}: would have {total:,} bytes, more than any model has")
    missing = total - start - (0 if start else part.size())  # an older part is overwritten
    if missing > shutil.disk_usage(part.path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part.path.parent))


def _check_end(url: str, file: RemoteFile, total: int | None, response: Any) -> None:
    """Refuse an answer whose end could not be told from a broken connection."""
    known = total is not None or response.chunked or file.size is not None or file.sha256 or file.md5
    if not known:
        raise DownloadError(f"{url}: the server does not say how long the file is, so a cut would go unnoticed")


def _validator(headers: email.message.Message) -> str | None:
    """What tells this file from a later one at the same address: a strong ETag, else the date."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _read(response: Any) -> bytes:
    """Give the next bytes, as soon as there are some; nothing at the end.

    Raises:
        _BrokenError: None came for too long, or the connection broke.
    """
    try:
        chunk: bytes = response.read1(CHUNK)
        return chunk
    except TimeoutError as error:
        raise _BrokenError("the server stopped sending") from error
    except (OSError, http.client.HTTPException) as error:
        with suppress(OSError):
            response.close()
        raise _BrokenError(f"the connection broke ({type(error).__name__})") from error
