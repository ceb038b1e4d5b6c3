"""A real HTTP server that speaks chat completions, says what a script tells it, and misbehaves on demand."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = Mapping[str, Any]
Script = Callable[[Body], str | Mapping[str, Any]]
"""A request's body -> the text of the reply, or the log-probabilities of its first token."""

FAULTS = ("ok", "429", "500", "hangs", "breaks off", "cut off", "prose", "wrong json", "no completion")
READ, WRITTEN = 100, 10
"""Tokens that every completion says it took."""


@dataclass
class Server:
    """`billed` counts the completions that were sent whole, by question: what a hosted server would charge for."""

    url: str
    script: Script
    faults: Mapping[str, float]
    seed: int = 0
    billed: Counter[str] = field(default_factory=Counter)
    seen: list[Body] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    hang: float = 5.0
    whole: bool = False
    at_once: int = 0
    most_at_once: int = 0

    def fault(self) -> str:
        with self.lock:
            number = sum(self.served.values())
            names = list(self.faults)
            chosen = random.Random(f"{self.seed}/{number}").choices(names, [self.faults[n] for n in names])[0]
            self.served[chosen] += 1
            return chosen


@contextmanager
def serve(
    script: Script,
    *,
    faults: Mapping[str, float] | None = None,
    seed: int = 0,
    hang: float = 5.0,
    whole: bool = False,
) -> Iterator[Server]:
    """`whole`: the script gives the body that is sent back, and not what it says. Faults may be any HTTP status."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.seen.append(body)
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                answer(self, server, body)
            except (BrokenPipeError, ConnectionResetError):  # the client gave up
                pass
            finally:
                with server.lock:
                    server.at_once -= 1

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Server(
        f"http://127.0.0.1:{http.server_port}/v1", script, faults or {"ok": 1.0}, seed, hang=hang, whole=whole
    )
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)  # how soon it hears of its end
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def answer(handler: BaseHTTPRequestHandler, server: Server, body: Body) -> None:
    fault = server.fault()
    if fault.isdigit():
        send(handler, int(fault), {"error": {"message": f"status {fault}", "type": "server"}}, {"retry-after-ms": "1"})
    elif fault == "hangs":
        time.sleep(server.hang)
        handler.close_connection = True
    elif fault == "breaks off":
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
        handler.close_connection = True
    elif fault == "broken json":
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "13")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
    elif fault == "no completion":
        send(handler, 200, {"hello": "there"})
    else:
        text = {"prose": "I would say it is rather good.", "wrong json": '{"verdict": 10}'}.get(fault)
        said: Any = server.script(body) if text is None else text
        completion = said if server.whole else completed(said, body)
        if fault == "cut off":
            completion["choices"][0]["finish_reason"] = "length"
        with server.lock:
            server.billed[question(body)] += 1
        send(handler, 200, completion)


def question(body: Body) -> str:
    """Which question this is, whatever the attempt."""
    return str(body["messages"][-1]["content"])


def completed(said: str | Mapping[str, float], body: Body) -> dict[str, Any]:
    logprobs = None
    if not isinstance(said, str):
        top = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in said.items()]
        logprobs = {"content": [{**top[0], "top_logprobs": top}], "refusal": None}
        said = top[0]["token"]
    message = {"role": "assistant", "content": said}
    return {
        "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}],
        "usage": {"prompt_tokens": READ, "completion_tokens": WRITTEN, "total_tokens": READ + WRITTEN},
    }  # fmt: skip


def send(
    handler: BaseHTTPRequestHandler, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    data = json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)
