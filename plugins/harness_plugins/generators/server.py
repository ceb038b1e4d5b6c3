"""A generator over HTTP: any server that speaks OpenAI's chat completions, through the official client.

A server tells no token ids, so its answers can be judged and compared, and not trained on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.chat import constraint_schema
from harness.chat_template import with_decline, with_tools
from harness.errors import ConfigError, HarnessError
from harness.protocols import RunContext
from harness.types import BASE_POLICY, AdapterCheckpoint, Completion, FinishReason, Group, Prompt, Sampling
from harness_plugins.generators.configs import ServerConfig
from harness_plugins.generators.seeds import request_seed

try:
    import openai
except ImportError as error:
    raise HarnessError(
        f"openai is not installed ({error})", where="generator server", remedy="pip install 'harness-align[server]'"
    ) from None

NAME = "server"
WHERE = "generator server"
NO_KEY = "none"
LONGEST_WAIT = 60.0
"""Seconds that the client waits at most before a retry because a server asked it to."""
FINISHED: Mapping[str, FinishReason] = {
    "stop": "stop",
    "tool_calls": "stop",
    "content_filter": "stop",
    "length": "length",
}
"""What a server says of how an answer ended. One that its filter withheld is an answer too, with what is left of it."""


class ServerGenerator:
    """Samples the one policy that the server has under the model's name."""

    def __init__(self, config: ServerConfig, context: RunContext) -> None:
        self._config, self._progress = config, context.progress
        self._model = config.model or context.require_model().name
        self._base_url = config.base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._key = os.environ.get(config.api_key_env, "")
        if not self._key and self._base_url is None:
            raise ConfigError(
                f"the environment has no {config.api_key_env}",
                where=WHERE,
                remedy="Set it, or name a server of your own: OPENAI_BASE_URL, or the setting base_url.",
            )

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        """One request a completion, with a seed of its own. No token ids and no log-probabilities come back.

        Raises HarnessError when the server refuses a request, or one comes to nothing in spite of all retries.
        """
        bodies = [
            self.body(prompt, sampling, request_seed(seed, prompt.id, i, size=4))
            for prompt in prompts
            for i in range(n)
        ]
        answers = iter(_run(self._ask_all([prompt for prompt in prompts for _ in range(n)], bodies)))
        return [
            Group(prompt, (), tuple(next(answers) for _ in range(n)), BASE_POLICY, sampling, NAME) for prompt in prompts
        ]

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        """Raises ConfigError for any adapter: what a server serves is its own affair."""
        if checkpoint is not None:
            raise ConfigError(
                "the server cannot be told to load an adapter",
                where=WHERE,
                remedy="Let the server serve the adapter under a name of its own, and name that: --model NAME.",
            )

    def score_tokens(self, token_ids: Sequence[int]) -> None:
        return None

    def close(self) -> None:
        """Each call has a client of its own, which ends with it."""

    # ------------------------------------------------------------ what is sent

    def body(self, prompt: Prompt, sampling: Sampling, seed: int) -> dict[str, Any]:
        """One request. Raises HarnessError for a prompt that cannot be put to a chat server."""
        if not prompt.messages:
            raise HarnessError(
                "it has no messages, and the server only chats",
                where=f"prompt {prompt.id}",
                remedy="Sample raw text with a generator that holds the weights, such as vllm.",
            )
        has_tools = bool(json.loads(prompt.tools or "[]"))
        messages: Sequence[Mapping[str, Any]] = prompt.messages
        body: dict[str, Any] = {
            "model": self._model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._config.max_tokens_field: sampling.max_tokens,
            "seed": seed,
        }
        if has_tools and self._config.send_tools:
            messages = with_decline(messages)
            named = zip(api_names(prompt), json.loads(prompt.tools), strict=True)
            body["tools"] = [{"type": "function", "function": {**tool, "name": name}} for name, tool in named]
        elif has_tools:
            messages = with_tools(messages, prompt.tools)
        if sampling.constrained:
            body["response_format"] = self._response_format(prompt)
        # OpenAI's own protocol has no names for these, and a server without them may refuse the request.
        beyond = {"top_k": sampling.top_k, "min_p": sampling.min_p}
        extra = {name: value for name, value in beyond.items() if value} | self._config.extra_body
        return {**body, "messages": [dict(message) for message in messages], **({"extra_body": extra} if extra else {})}

    def _response_format(self, prompt: Prompt) -> dict[str, Any]:
        if not prompt.schema and self._config.send_tools:
            raise HarnessError(
                "calls that the API returns as tool_calls cannot be held to a schema",
                where=f"prompt {prompt.id}",
                remedy="Switch `constrained` off, or send_tools, so that the answer is text.",
            )
        schema = {"name": "answer", "schema": dict(constraint_schema(prompt)), "strict": True}
        return {"type": "json_schema", "json_schema": schema}

    # ------------------------------------------------------------ asking

    async def _ask_all(self, prompts: Sequence[Prompt], bodies: Sequence[Mapping[str, Any]]) -> list[Completion]:
        """In the order of the requests. The first that fails ends the others."""
        free = asyncio.Semaphore(self._config.max_connections)
        started, tokens = time.perf_counter(), 0

        async with openai.AsyncOpenAI(
            api_key=self._key or NO_KEY,
            base_url=self._base_url,
            timeout=self._config.timeout,
            max_retries=self._config.retries,
        ) as client:
            with self._progress.task("generate", total=len(bodies)) as advance:

                async def settle(prompt: Prompt, body: Mapping[str, Any]) -> Completion:
                    nonlocal tokens
                    async with free:
                        completion, written = await self._ask(client, prompt, body)
                    tokens += written
                    advance(1, tokens_per_s=tokens / (time.perf_counter() - started))
                    return completion

                try:
                    async with asyncio.TaskGroup() as group:
                        tasks = [group.create_task(settle(*one)) for one in zip(prompts, bodies, strict=True)]
                except* HarnessError as failures:
                    raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask(self, client: openai.AsyncOpenAI, prompt: Prompt, body: Mapping[str, Any]) -> tuple[Completion, int]:
        """The answer, and how many tokens the server says it has."""
        where = f"{WHERE}, prompt {prompt.id}"
        retries = self._config.retries
        names = api_names(prompt) if "tools" in body else {}
        try:
            # The client's own time-out starts anew with every byte that a server trickles.
            async with asyncio.timeout((retries + 1) * self._config.timeout + retries * LONGEST_WAIT):
                for _ in range(retries):
                    with contextlib.suppress(ValueError):  # the client does not look into the body, nor try it again
                        return await _request(client, body, names)
                return await _request(client, body, names)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise HarnessError(
                f"the server refuses ({_brief(error)})",
                where=WHERE,
                remedy=f"Look at model, base_url and the key in {self._config.api_key_env}.",
            ) from error
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise HarnessError(
                f"the server cannot answer this ({_brief(error)})",
                where=where,
                remedy="Shorten or drop the prompt if it is too long, or leave out the setting that the server lacks.",
            ) from error
        except (openai.OpenAIError, TimeoutError, ValueError) as error:
            raise HarnessError(
                f"no answer came in spite of {retries} retries ({_brief(error)})",
                where=where,
                remedy="See whether the server runs, raise timeout or retries, or lower max_connections.",
            ) from error


async def _request(
    client: openai.AsyncOpenAI, body: Mapping[str, Any], names: Mapping[str, str]
) -> tuple[Completion, int]:
    raw = await client.chat.completions.with_raw_response.create(**body)
    return _read(raw.parse(), names)


def api_names(prompt: Prompt) -> dict[str, str]:
    """By the name that the protocol allows each tool (letters, digits, _ and -), its own, in the order of the tools.

    Raises HarnessError where two tools would have one name.
    """
    own = [tool["name"] for tool in json.loads(prompt.tools)]
    names = {re.sub(r"[^a-zA-Z0-9_-]", "_", name): name for name in own}
    if len(names) != len(own):
        raise HarnessError(
            f"the API cannot tell its tools apart by their names ({', '.join(own)})",
            where=f"prompt {prompt.id}",
            remedy="Rename one, or set send_tools = false.",
        )
    return names


# ---------------------------------------------------------------- what comes back


def _read(reply: Any, names: Mapping[str, str]) -> tuple[Completion, int]:
    """An answer, its calls under the tools' own `names`, and its tokens. Raises ValueError where the body is no chat
    completion: the client does not check what it was sent."""
    try:
        first = reply.choices[0]
        message, reason = first.message, first.finish_reason
        called = [call.function for call in message.tool_calls or ()]
        calls = [(names.get(call.name, call.name), call.arguments) for call in called]
        text = written_calls(calls) if calls else message.content or getattr(message, "refusal", None) or ""
        tokens = int(getattr(reply.usage, "completion_tokens", None) or 0)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"the body is no chat completion ({_brief(error)})") from error
    if not all(isinstance(part, str) for part in (text, *(part for call in calls for part in call))):
        raise ValueError("the answer is not text")
    if reason not in FINISHED:
        raise ValueError(f"the answer ended for an unknown reason, {reason!r}")
    text = text.encode("utf-8", "replace").decode()  # half a character could not be stored
    return Completion(text, (), None, FINISHED[reason]), tokens


def written_calls(calls: Sequence[tuple[str, str]]) -> str:
    """The calls of an answer as a JSON array, which `harness.tools.parse_calls` reads.

    Arguments come as JSON text and stay letter by letter what the model wrote: if they are not JSON, neither is this.
    """
    written = (f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {text}}}' for name, text in calls)
    return f"[{', '.join(written)}]"


def _run(work: Coroutine[Any, Any, list[Completion]]) -> list[Completion]:
    """In an event loop of its own, also where one is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _brief(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
