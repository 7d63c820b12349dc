"""As much of the Hub as its client needs to fetch and to upload models: branches, commits, files, private and gated ones."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.checkpoints.web import Answer, Request, Web


@dataclass
class Repository:
    """A repository of models."""

    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    private: bool | None = None
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, changes: dict[str, bytes]) -> str:
        files = self.commits[self.branches[branch]] | changes
        name = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[name] = files
        self.branches[branch] = name
        return name


class Hub(dict[str, list[Answer]]):
    """The pages of a server, made when asked for."""

    def __init__(self, web: Web, token: str = "hf_right") -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.token = token
        self.gated: set[str] = set()
        web.pages = self
        self.address = f"http://127.0.0.1:{web.server_address[1]}"

    def get(self, path: str, default: object = None) -> list[Answer]:
        return [self.answer]

    def answer(self, request: Request) -> None:
        path = unquote(request.path.partition("?")[0])
        for pattern, method in (
            (r"/api/models/([^/]+/[^/]+)/revision/(.+)", self.revision),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", self.tree),
            (r"/api/models/([^/]+/[^/]+)/branch/(.+)", self.branch),
            (r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", self.preupload),
            (r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", self.write),
        ):
            if found := re.fullmatch(pattern, path):
                return self.about(request, found[1], lambda found=found, method=method: method(request, found[1], found[2]))
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.about(request, found[1], lambda: self.resolve(request, found[1], found[2], found[3]))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            return self.about(request, found[1], lambda: self.revision(request, found[1], "main"))
        if path == "/api/repos/create":
            return self.create(request)
        if path == "/api/validate-yaml":
            return say(request, {"errors": [], "warnings": []})
        return refuse(request, 404, "EntryNotFound")

    def about(self, request: Request, repo: str, answer: object) -> None:
        """Answer if the repository is there and the client may see it."""
        known = self.repositories.get(repo)
        allowed = request.headers.get("Authorization") == f"Bearer {self.token}"
        if known is None or (known.private and not allowed):
            return refuse(request, 401 if request.command == "GET" else 404, "RepoNotFound")
        if repo in self.gated:
            return refuse(request, 403, "GatedRepo")
        if request.command == "POST" and not allowed:
            return refuse(request, 403, "")
        answer()  # type: ignore[operator]  # a function without arguments
        return None

    def sha(self, repo: str, revision: str) -> str | None:
        known = self.repositories[repo]
        sha = known.branches.get(revision, revision)
        return sha if sha in known.commits else None

    def revision(self, request: Request, repo: str, revision: str) -> None:
        sha = self.sha(repo, revision)
        if sha is None:
            return refuse(request, 404, "RevisionNotFound")
        siblings = [{"rfilename": name} for name in self.repositories[repo].commits[sha]]
        return say(
            request, {"id": repo, "sha": sha, "siblings": siblings, "private": False, "tags": [], "downloads": 0, "likes": 0}
        )

    def tree(self, request: Request, repo: str, revision: str) -> None:
        files = self.repositories[repo].commits[self.sha(repo, revision) or ""]
        oid = "1" * 40
        say(request, [{"type": "file", "path": name, "size": len(body), "oid": oid} for name, body in files.items()])

    def resolve(self, request: Request, repo: str, revision: str, name: str) -> None:
        sha = self.sha(repo, revision)
        body = self.repositories[repo].commits[sha or ""].get(name)
        if body is None:
            return refuse(request, 404, "EntryNotFound")
        etag = hashlib.sha1(body).hexdigest()
        request.start(200, content_length=len(body), ETag=f'"{etag}"', X_Repo_Commit=sha)
        if request.command == "GET":
            request.wfile.write(body)
        return None

    def create(self, request: Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return refuse(request, 401, "")
        wanted = json.loads(request.body)
        repo = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        if repo in self.repositories:
            return say(request, {"url": f"{self.address}/{repo}"}, 409)
        self.repositories[repo] = Repository(private=wanted.get("private") or wanted.get("visibility") == "private")
        return say(request, {"url": f"{self.address}/{repo}", "id": repo})

    def branch(self, request: Request, repo: str, name: str) -> None:
        known = self.repositories[repo]
        if name in known.branches:
            return refuse(request, 409, "")
        known.branches[name] = known.branches["main"]
        return say(request, {})

    def preupload(self, request: Request, repo: str, revision: str) -> None:
        files = [
            {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(request.body)["files"]
        ]
        say(request, {"files": files})

    def write(self, request: Request, repo: str, revision: str) -> None:
        known = self.repositories[repo]
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        known.messages += [line["value"]["summary"] for line in lines if line["key"] == "header"]
        files = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"}
        sha = known.commit(revision, files)
        say(request, {"commitUrl": f"{self.address}/{repo}/commit/{sha}", "commitOid": sha})


def say(request: Request, answer: object, status: int = 200) -> None:
    request.send(json.dumps(answer).encode(), status, Content_Type="application/json")


def refuse(request: Request, status: int, code: str) -> None:
    headers = {"X_Error_Code": code} if code else {}
    request.send(b"{}" if request.command != "HEAD" else b"", status, Content_Type="application/json", **headers)
