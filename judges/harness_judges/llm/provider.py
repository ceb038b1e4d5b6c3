"""Questions to a model that judges, and its replies, whoever serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from harness.types import digest


@dataclass(frozen=True)
class Request:
    """One question. With `choices` the reply is one of them, and what counts is how probable each is."""

    messages: tuple[Mapping[str, str], ...]
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    """JSON Schema of the reply."""
    choices: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0

    @cached_property
    def key(self) -> str:
        """Identity of the question."""
        asked = [list(map(dict, self.messages)), self.max_tokens, self.schema, self.choices]
        return digest([*asked, self.temperature, self.seed])


ErrorKind = Literal["", "passing", "lasting"]


@dataclass(frozen=True)
class Reply:
    """What came back. With an `error` nothing did: a `passing` one may not happen again, a `lasting` one will."""

    text: str = ""
    finish_reason: str = ""
    choice_logprobs: Mapping[str, float] = field(default_factory=dict)
    """Log-probability of what the reply may start with: of each choice, or of the server's likeliest tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    latency: float = 0.0
    """Seconds, with retries and without the wait for a free connection."""
    retries: int = 0
    error: str = ""
    kind: ErrorKind = ""


Keep = Callable[[int, Reply], None]
"""Told each reply as it comes, with the number of its request."""


class Provider(Protocol):
    """Serves a model that judges."""

    @property
    def fingerprint(self) -> str:
        """Which model replies, and everything about it that could change what it says."""
        ...

    def ask(self, requests: Sequence[Request], keep: Keep) -> None:
        """Ask them all, in any order. Raises JudgeFailure when it makes no sense to go on."""
        ...

    def close(self) -> None: ...
