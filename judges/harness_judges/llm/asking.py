"""Settling questions: what was asked before is not asked again; what cannot be read is asked anew, then given up."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import jsonschema

from harness.errors import ConfigError
from harness.plugins import validate
from harness.protocols import RunContext
from harness.replies import ReplyStore, reply_file
from harness.types import canonical_json, digest
from harness_judges.llm.provider import Provider, Reply, Request
from harness_judges.llm.settings import AskingConfig, ServerConfig

T = TypeVar("T")

FIELDS = frozenset(field.name for field in fields(Reply))

WARMER = 0.5
"""The least temperature of a second attempt: a greedy model would reply the same again."""


REASONS = 600
"""Characters that reasons may have."""


class Unreadable(Exception):
    """The reply is no verdict, and why."""


@dataclass(frozen=True)
class Settled(Generic[T]):
    """What a question came to. `value` is None where it failed, and `why` says how."""

    value: T | None
    why: str = ""
    raw: str = ""
    tokens: int = 0
    cost: float = 0.0
    latency: float = 0.0


FREE: Mapping[str, Any] = {"tokens": 0, "cost": 0.0, "latency": 0.0}


class Asker:
    """One judge's questions to one model."""

    def __init__(self, judge: str, config: AskingConfig, context: RunContext) -> None:
        self.judge, self.config, self.progress = judge, config, context.progress
        self.provider: Provider = open_provider(judge, config, context)
        self.store = ReplyStore(reply_file() if config.cache else None)
        self.counts: defaultdict[str, float] = defaultdict(float)
        self.fresh = context.fresh_verdicts
        self.known: dict[str, Settled[Any]] = {}
        """What was settled since this was made: comparisons are asked for after the scores that were made of them."""

    def settle(self, requests: Sequence[Request], read: Callable[[Request, Reply], T]) -> list[Settled[T]]:
        """In the order of the requests. Equal ones are asked once, and the first of them bears the cost.

        `read` makes a verdict of a reply or raises Unreadable. Replies that were kept are read first; those that cannot
        be read do not count as attempts, so that a mended server gets its chance. Raises JudgeFailure when the model
        cannot be reached.
        """
        distinct = {request.key: request for request in requests}
        settled: dict[str, Settled[T]] = {key: self.known.get(key, Settled(None)) for key in distinct}
        waiting = {key: request for key, request in distinct.items() if key not in self.known}
        self.counts["questions"] += len(waiting)
        asked = dict.fromkeys(waiting, 0)  # replies that came; where none did, the same is asked again
        new = list(waiting)

        def take(key: str, reply: Reply) -> None:
            asked[key] += not reply.error
            settled[key] = self._read(settled[key], distinct[key], reply, read)
            if settled[key].value is not None or reply.kind == "lasting":
                del waiting[key]

        for key, request in list(waiting.items()):
            while key in waiting and (kept := self._kept(request, asked[key])) is not None:
                self.counts["cached"] += 1
                take(key, kept)
        for _ in range(self.config.attempts):
            batch = [(request, asked[key]) for key, request in waiting.items()]
            for key, reply in zip(list(waiting), self._ask(batch), strict=True):
                take(key, reply)
        self.counts["unanswered"] += sum(settled[key].value is None for key in new)
        self.known |= {key: replace(settled[key], **FREE) for key in new}
        first = {request.key: number for number, request in reversed(list(enumerate(requests)))}
        return [
            settled[request.key] if first[request.key] == number else replace(settled[request.key], **FREE)
            for number, request in enumerate(requests)
        ]

    def figures(self) -> dict[str, float]:
        """`questions` that were distinct and how many of them stayed `unanswered`, `replies` that were read and how
        many of these were `cached` (paid for before) or `unreadable`, `errors` (no reply in spite of retries),
        `retries`; and what was paid now: `paid_prompt_tokens`, `paid_completion_tokens`, `paid`."""
        names = ("questions", "unanswered", "replies", "cached", "unreadable", "errors", "retries")
        paid = {"paid_prompt_tokens": "prompt_tokens", "paid_completion_tokens": "completion_tokens", "paid": "cost"}
        return {**{n: self.counts[n] for n in names}, **{name: self.counts[count] for name, count in paid.items()}}

    def close(self) -> None:
        self.provider.close()
        self.store.close()

    def _read(
        self, so_far: Settled[T], request: Request, reply: Reply, read: Callable[[Request, Reply], T]
    ) -> Settled[T]:
        spent = replace(
            so_far,
            raw=reply.text or so_far.raw,
            tokens=so_far.tokens + reply.prompt_tokens + reply.completion_tokens,
            cost=so_far.cost + reply.cost,
            latency=so_far.latency + reply.latency,
        )
        if reply.error:
            self.counts["errors"] += 1
            return replace(spent, why=reply.error)
        self.counts["replies"] += 1
        try:
            return replace(spent, value=read(request, reply), why="")
        except Unreadable as problem:
            self.counts["unreadable"] += 1
            return replace(spent, why=str(problem))

    def _ask(self, batch: Sequence[tuple[Request, int]]) -> list[Reply]:
        """Each request's reply at that attempt, kept as it comes."""
        if not batch:
            return []
        found: dict[int, Reply] = {}
        with self.progress.task(self.judge, total=len(batch)) as advance:

            def keep(number: int, reply: Reply) -> None:
                found[number] = reply
                self.counts["retries"] += reply.retries
                if not reply.error:
                    self.store.put(
                        self._key(*batch[number]),
                        asdict(reply),
                        judge=self.judge,
                        model=self.config.model,
                        tokens=reply.prompt_tokens + reply.completion_tokens,
                        cost=reply.cost,
                    )
                    for paid in ("prompt_tokens", "completion_tokens", "cost"):
                        self.counts[paid] += getattr(reply, paid)
                advance(1)

            self.provider.ask([_attempt(*one) for one in batch], keep)
        return [found[number] for number in range(len(batch))]

    def _kept(self, request: Request, attempt: int) -> Reply | None:
        kept = None if self.fresh else self.store.get(self._key(request, attempt))
        return None if kept is None else Reply(**{name: kept[name] for name in FIELDS & kept.keys()})

    def _key(self, request: Request, attempt: int) -> str:
        """What is asked anew although it was asked before is kept beside the first, for the books."""
        again = [time.time_ns()] if self.fresh else []
        return digest([self.provider.fingerprint, request.key, attempt, *again])


def _attempt(request: Request, attempt: int) -> Request:
    if attempt == 0:
        return request
    return replace(request, seed=request.seed + attempt, temperature=max(request.temperature, WARMER))


def open_provider(judge: str, config: AskingConfig, context: RunContext) -> Provider:
    """Raises ConfigError for settings that the provider does not know."""
    where = f"judge {judge}"
    if config.provider == "openai":
        from harness_judges.llm.server import ServerProvider

        server = validate(ServerConfig, config.provider_config, where=f"{where}, provider_config")
        return ServerProvider(config, server, where=where)
    if context.components is None:
        raise ConfigError("generators cannot be made here", where=where, remedy='Use provider = "openai".')
    from harness_judges.llm.local import LocalProvider

    return LocalProvider(config, context, where=where)


def paid_for(settled: Sequence[Settled[Any]]) -> dict[str, Any]:
    """The fields of a Score that say what its replies were and cost."""
    return {
        "cost": sum(one.cost for one in settled),
        "raw": "\n".join(one.raw for one in settled),
        "tokens": sum(one.tokens for one in settled),
        "latency": sum(one.latency for one in settled),
    }


# ---------------------------------------------------------------- replies in JSON


def reply_schema(properties: Mapping[str, Any], *, reasons: bool) -> dict[str, Any]:
    """JSON Schema of an object with just these, after a sentence of reasons if wanted."""
    first = {"reasons": {"type": "string", "maxLength": REASONS}} if reasons else {}
    every = {**first, **properties}
    return {"type": "object", "properties": every, "required": list(every), "additionalProperties": False}


def read_json(reply: Reply, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The object that satisfies the schema. Raises Unreadable for anything else."""
    if reply.finish_reason == "length":
        raise Unreadable("the reply was cut off")
    text = reply.text.strip()
    if text.startswith("```") and text.endswith("```"):  # servers without structured output fence what they write
        text = text.strip("`").removeprefix("json").strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the latter of a thousand open brackets
        raise Unreadable(f"the reply is not JSON: {reply.text[:80]!r}") from None
    for problem in _validator(canonical_json(schema)).iter_errors(value):
        raise Unreadable(f"the reply does not satisfy its schema: {problem.message[:200]}")
    found: dict[str, Any] = value
    return found


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads(schema))
