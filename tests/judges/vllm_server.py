"""A real vLLM server with the real model, for the tests and the benchmark."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.assets import model

NAME = "smollm2-135m"


@contextmanager
def vllm_server(*, context: int = 2048, patience: float = 300.0) -> Iterator[str]:
    """Its base_url. Raises RuntimeError with the end of its log when it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A split prefill rewinds the generator of a seeded request, which vLLM's CPU build cannot do.
    options = ["--dtype", "bfloat16", "--max-model-len", str(context), "--no-enable-chunked-prefill"]
    options += ["--max-num-batched-tokens", str(max(8192, context)), "--max-num-seqs", "64"]
    # Not `vllm serve`: its command asks for the metadata of a distribution `vllm`, which the CPU build is not.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model(NAME).path)]
    command += ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port), *options]
    variables = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1"}
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | variables, start_new_session=True)
        try:
            _wait(process, f"http://127.0.0.1:{port}/health", Path(log.name), patience)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, patience: float) -> None:
    started = time.monotonic()
    while time.monotonic() - started < patience:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(1)
    raise RuntimeError(f"vllm serve does not start:\n{log.read_text()[-2000:]}")
