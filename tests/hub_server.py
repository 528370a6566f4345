"""A small server that speaks the file protocol of huggingface.co, for tests alone."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c0" * 20


class Hub:
    """Repositories in a folder: `<folder>/<owner>/<name>/<file>`; a file `.gated` closes one.

    asked: every request, as `HEAD owner/name/resolve/main/file`.
    """

    def __init__(self, folder: Path):
        self.folder, self.asked = folder, []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.elsewhere = f"http://localhost:{self.server.server_port}/cdn"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def put(self, repository: str, file: str) -> Path:
        """Where to write a file of a repository."""
        path = self.folder / repository / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(hub: Hub) -> type:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.lstrip("/")
            hub.asked.append(f"{self.command} {path}")
            if path.startswith("cdn/"):
                return self.send(200, hub.folder / path.removeprefix("cdn/"), body)
            if path.count("/") < 4:
                return self.refuse(404, "")
            owner, name, _, revision, *file = path.split("/")
            repository = hub.folder / owner / name
            if not repository.is_dir():
                return self.refuse(401, "RepoNotFound")
            if (repository / ".gated").is_file():
                return self.refuse(403 if "authorization" in self.headers else 401, "GatedRepo")
            if revision not in ("main", COMMIT):
                return self.refuse(404, "RevisionNotFound")
            found = repository.joinpath(*file)
            if not found.is_file():
                return self.refuse(404, "EntryNotFound")
            # Large files lie on another host.
            digest = hashlib.sha256(found.read_bytes()).hexdigest()
            self.send_response(302)
            self.send_header("Location", f"{hub.elsewhere}/{found.relative_to(hub.folder).as_posix()}")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-ETag", f'"{digest}"')
            self.send_header("X-Linked-Size", str(found.stat().st_size))
            self.send_header("Content-Length", "0")
            return self.end_headers()

        def send(self, status: int, file: Path, body: bool) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(file.stat().st_size))
            self.send_header("ETag", '"of-the-cdn"')
            self.end_headers()
            if body:
                self.wfile.write(file.read_bytes())

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def hub_server(folder: Path):
    """The server, until it is left or stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    hub = Hub(folder)
    try:
        yield hub
    finally:
        hub.stop()
