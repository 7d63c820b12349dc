"""A web server on this machine that behaves as badly as a test asks."""

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answer = Callable[["Request"], None]


class Request(http.server.BaseHTTPRequestHandler):
    """One request, with what an answer may do."""

    protocol_version = "HTTP/1.1"
    server: "Web"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(length)
        self.server.requests.append(self)
        answers = self.server.pages.get(self.path.partition("?")[0], [gone])
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    do_GET = do_HEAD = do_POST = answer

    def start(self, status: int, **headers: object) -> None:
        """Send the first line and headers; `content_length` stands for Content-Length."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send(self, body: bytes, status: int = 200, **headers: object) -> None:
        """Send a whole answer."""
        self.start(status, content_length=len(body), **headers)
        self.wfile.write(body)

    def hang_up(self) -> None:
        """Close the connection."""
        self.close_connection = True

    @property
    def first(self) -> int:
        """The byte from which the client asks; 0 if it asks for all."""
        found = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def log_message(self, *_: object) -> None:
        pass


class Web(http.server.ThreadingHTTPServer):
    """Pages, each with its answers: one a request in their order, the last for ever."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.pages: dict[str, list[Answer]] = {}
        self.requests: list[Request] = []
        self.over = threading.Event()
        """Set at the end, so that whoever stalls stops."""

    def url(self, path: str, *answers: Answer) -> str:
        """Put up a page."""
        self.pages[path] = list(answers)
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def asked(self, path: str) -> list[Request]:
        """The requests for a page."""
        return [request for request in self.requests if request.path.partition("?")[0] == path]

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no error here."""


@contextmanager
def serving() -> Iterator[Web]:
    """A server while the block runs."""
    with Web() as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield web
        finally:
            web.over.set()
            web.shutdown()
            thread.join()


def gone(request: Request) -> None:
    request.send(b"no such page", 404)


def file(
    body: bytes, etag: str | None = '"one"', *, cut: int | None = None, heeds_range: bool = True, checks: bool = True
) -> Answer:
    """A file as a good server gives it, in whole or from where it is asked, as long as it is the same one.

    Args:
        body: What is in it.
        etag: What identifies it.
        cut: After so many bytes of the answer the connection breaks.
        heeds_range: False always sends the whole.
        checks: False sends a piece even if the client means another file.
    """

    def answer(request: Request) -> None:
        same = not checks or request.headers.get("If-Range") in (None, etag)
        first = request.first if heeds_range and same else 0
        headers = {"ETag": etag} if etag else {}
        if first >= len(body) > 0:
            return request.send(b"", 416, Content_Range=f"bytes */{len(body)}")
        if first:
            headers["Content_Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        request.start(206 if first else 200, content_length=len(body) - first, **headers)
        request.wfile.write(body[first:] if cut is None else body[first : first + cut])
        return request.hang_up()

    return answer


def status(code: int) -> Answer:
    return lambda request: request.send(b"", code)


def redirect(to: str, code: int = 302) -> Answer:
    return lambda request: request.send(b"", code, Location=to)


def chunked(*chunks: bytes, end: bool = True) -> Answer:
    """An answer that does not say how long it is, but where it ends."""

    def answer(request: Request) -> None:
        request.start(200, Transfer_Encoding="chunked")
        for chunk in chunks:
            request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if end:
            request.wfile.write(b"0\r\n\r\n")
        request.hang_up()

    return answer


def endless_by_hanging_up(body: bytes) -> Answer:
    """An answer that ends with the connection, as in HTTP 1.0."""

    def answer(request: Request) -> None:
        request.start(200, Connection="close")
        request.wfile.write(body)
        request.hang_up()

    return answer


def stall(body: bytes, after: int | None) -> Answer:
    """Send so many bytes and then nothing; None: not even a first line."""

    def answer(request: Request) -> None:
        if after is not None:
            request.start(200, content_length=len(body), ETag='"one"')
            request.wfile.write(body[:after])
            request.wfile.flush()
        request.server.over.wait(30)
        request.hang_up()

    return answer
