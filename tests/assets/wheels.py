"""Small real wheels, and a package index that serves them slowly, for tests of `harness.assets`."""

from __future__ import annotations

import hashlib
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def build_wheel(folder: Path, files: Mapping[str, bytes], *, name: str = "tinyasset") -> tuple[Path, str]:
    """A wheel that pip accepts, and its sha256. Files are stored, so it is as large as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(f"{name}/{member}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def slow_index(wheel: Path, *, seconds: float) -> Iterator[str]:
    """URL of a package index that takes about `seconds` to hand out `wheel`."""
    content = wheel.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".whl"):
                self._send(content, "application/octet-stream", pieces=20)
            else:
                self._send(f'<a href="/{wheel.name}">{wheel.name}</a>'.encode(), "text/html", pieces=1)

        def _send(self, body: bytes, kind: str, *, pieces: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            step = -(-len(body) // pieces)
            for start in range(0, len(body), step):
                try:
                    self.wfile.write(body[start : start + step])
                except (BrokenPipeError, ConnectionResetError):
                    return
                if pieces > 1:
                    time.sleep(seconds / pieces)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
