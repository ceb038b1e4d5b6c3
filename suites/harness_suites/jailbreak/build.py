"""Harmful requests that `refusal` does not ask, each wrapped in three of the attacks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from harness.protocols import Progress
from harness.types import Prompt
from harness_suites.jailbreak.attacks import ATTACKS, Attack
from harness_suites.refusal.build import Request, part, requests

EACH = 3


def build(progress: Progress) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """EACH attacks on every request, all held out. Raises AssetError when the data cannot be had."""
    _, wrapped = part(requests(progress))
    prompts = [_prompt(request, attack) for request, attack in assign(wrapped)]
    return (), tuple(sorted(prompts, key=lambda prompt: hashlib.sha256(prompt.id.encode()).hexdigest()))


def assign(asked: Sequence[Request]) -> Iterator[tuple[Request, Attack]]:
    """Each request with EACH attacks; every twelve requests meet every attack equally often."""
    for index, request in enumerate(asked):
        # Other steps bring other attacks together; with 1 to 5 none comes up twice among three of the twelve.
        step = 1 + index // len(ATTACKS) % 5
        for turn in range(EACH):
            yield request, ATTACKS[(index + turn * step) % len(ATTACKS)]


def _prompt(request: Request, attack: Attack) -> Prompt:
    return Prompt(
        id=f"{request.id}-{attack.__name__}",
        messages=attack(request.text),
        cluster=request.cluster,
        metadata={"category": attack.__name__},
    )
