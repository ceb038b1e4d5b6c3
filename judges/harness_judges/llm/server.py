"""Any HTTP server that speaks OpenAI's chat completions, through the official client."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai

from harness.errors import ConfigError, HarnessError, JudgeFailure
from harness.types import digest
from harness_judges.llm.provider import Keep, Reply, Request
from harness_judges.llm.settings import AskingConfig, ServerConfig

TOP_LOGPROBS = 20
"""As many as the protocol allows."""
LONGEST_WAIT = 60.0
"""Seconds that the client waits at most before a retry because a server asked it to."""
NO_KEY = "none"


class ServerProvider:
    """Asks many questions at once. The client itself retries what may pass, and this gives up on what does not."""

    def __init__(self, config: AskingConfig, server: ServerConfig, *, where: str) -> None:
        self.config, self.server, self.where = config, server, where
        self.base_url = server.base_url or os.environ.get("OPENAI_BASE_URL")
        self.key = os.environ.get(server.api_key_env, "")
        if not self.key and self.base_url is None:
            raise ConfigError(
                f"the environment has no {server.api_key_env}",
                where=where,
                remedy="Set it, or name a server of your own: OPENAI_BASE_URL, or provider_config.base_url.",
            )
        self.pace = Pace(server.requests_per_minute)
        named = [config.model, config.revision, server.base_url, server.structured, server.extra_body]
        self.fingerprint = digest(["openai", *named])

    def ask(self, requests: Sequence[Request], keep: Keep) -> None:
        _run(self._ask_all(requests, keep))

    def close(self) -> None:
        """Each call has a client of its own, which ends with it."""

    async def _ask_all(self, requests: Sequence[Request], keep: Keep) -> None:
        free = asyncio.Semaphore(self.server.concurrency)
        patience = 2 * self.server.concurrency
        down = 0  # replies in a row that never came

        async with openai.AsyncOpenAI(
            api_key=self.key or NO_KEY,
            base_url=self.base_url,
            timeout=self.server.timeout,
            max_retries=self.server.retries,
        ) as client:

            async def settle(number: int, request: Request) -> None:
                nonlocal down
                async with free:
                    await self.pace.turn()
                    reply = await self._ask(client, request)
                down = down + 1 if reply.kind == "passing" else 0
                keep(number, reply)
                if down >= patience:
                    raise JudgeFailure(
                        f"{down} requests in a row came to nothing, the last with: {reply.error}",
                        where=self.where,
                        remedy="See whether the server runs, and resume: what it has replied is kept.",
                    )

            try:
                async with asyncio.TaskGroup() as tasks:
                    for number, request in enumerate(requests):
                        tasks.create_task(settle(number, request))
            except* HarnessError as failures:
                raise failures.exceptions[0] from None

    async def _ask(self, client: openai.AsyncOpenAI, request: Request) -> Reply:
        started = time.monotonic()
        tries = self.server.retries + 1
        try:
            # The client's own time-out starts anew with every byte that a server trickles.
            async with asyncio.timeout(tries * self.server.timeout + self.server.retries * LONGEST_WAIT):
                raw = await client.chat.completions.with_raw_response.create(**self.body(request))
            reply = self._read(raw.parse(), request)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise JudgeFailure(
                f"the server refuses ({_brief(error)})",
                where=self.where,
                remedy=f"Look at model, base_url and the key in {self.server.api_key_env}.",
            ) from error
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            return Reply(error=_brief(error), kind="lasting", latency=time.monotonic() - started)
        except (openai.OpenAIError, TimeoutError, ValueError) as error:  # ValueError: a body that is not JSON
            return Reply(error=_brief(error), kind="passing", latency=time.monotonic() - started)
        retries = int(getattr(raw, "retries_taken", 0))
        return Reply(**{**reply, "latency": time.monotonic() - started, "retries": retries})

    def body(self, request: Request) -> dict[str, Any]:
        """What is sent."""
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": [dict(message) for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        if request.temperature > 0:  # a greedy reply has no use for one
            body["seed"] = request.seed
        if request.choices:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        if request.schema is not None and self.server.structured == "json_schema":
            schema = {"name": "verdict", "schema": dict(request.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema is not None and self.server.structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        if self.server.extra_body:
            body["extra_body"] = self.server.extra_body
        return body

    def _read(self, completion: Any, request: Request) -> dict[str, Any]:
        """The fields of a reply. Raises ValueError where the body is no chat completion."""
        try:  # the client does not check what it was sent
            first, usage = completion.choices[0], completion.usage
            text = first.message.content or ""
            read = int(getattr(usage, "prompt_tokens", None) or 0)
            written = int(getattr(usage, "completion_tokens", None) or 0)
            logprobs = {}
            if request.choices and first.logprobs and first.logprobs.content:
                logprobs = {str(top.token): float(top.logprob) for top in first.logprobs.content[0].top_logprobs}
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(f"the body is no chat completion ({_brief(error)})") from error
        if not isinstance(text, str):
            raise ValueError("the reply is not text")
        return {
            "text": text.encode("utf-8", "replace").decode(),  # half a character could not be stored
            "finish_reason": str(first.finish_reason or ""),
            "choice_logprobs": logprobs,
            "prompt_tokens": read,
            "completion_tokens": written,
            "cost": (read * self.server.input_price + written * self.server.output_price) / 1e6,
        }


class Pace:
    """Starts at most so many a minute, evenly."""

    def __init__(self, per_minute: float) -> None:
        self.interval = 60.0 / per_minute if per_minute else 0.0
        self.next = 0.0

    async def turn(self) -> None:
        now = time.monotonic()
        self.next = max(now, self.next) + self.interval
        if self.interval:
            await asyncio.sleep(self.next - self.interval - now)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """In an event loop of its own, also where one is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def _brief(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
