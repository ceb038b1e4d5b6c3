"""Seeds of engines and servers that take one with each request."""

from __future__ import annotations

import hashlib


def request_seed(seed: int, prompt_id: str, index: int, *, size: int = 7) -> int:
    """A seed of its own for completion `index` of a prompt, below 256**size, so that samples do not depend on what is
    sampled beside them."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{prompt_id}\0{index}".encode()).digest()[:size])
