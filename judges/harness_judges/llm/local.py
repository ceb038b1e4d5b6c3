"""A generator of ours as the model that judges: it holds the model itself, so replies cost time and no money."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from harness import assets, chat
from harness.protocols import Generator, ModelRef, RunContext
from harness.types import Prompt, Sampling, canonical_json, digest
from harness_judges.llm.provider import Keep, Reply, Request
from harness_judges.llm.settings import AskingConfig


class LocalProvider:
    """Starts its engine with the first question."""

    def __init__(self, config: AskingConfig, context: RunContext, *, where: str) -> None:
        self.config, self.context, self.where = config, context, where
        self.model: ModelRef = assets.model(config.model, context.progress)
        self.fingerprint = digest([config.provider, config.provider_config, self.model.fingerprint])
        self._generator: Generator | None = None

    @property
    def generator(self) -> Generator:
        if self._generator is None:
            assert self.context.components is not None
            context = replace(self.context, model=self.model)
            self._generator = self.context.components.create(
                "generator", self.config.provider, self.config.provider_config, context, where=self.where
            )
        return self._generator

    def ask(self, requests: Sequence[Request], keep: Keep) -> None:
        numbered = sorted(enumerate(requests), key=lambda pair: (_decoding(pair[1]), pair[0]))
        for (choices, max_tokens, temperature, seed, constrained), same in groupby(
            numbered, key=lambda pair: _decoding(pair[1])
        ):
            several = list(same)
            if choices:
                self._weigh(several, keep)
            else:
                sampling = Sampling(temperature, max_tokens=max_tokens, constrained=constrained)
                self._write(several, sampling, seed, keep)

    def close(self) -> None:
        if self._generator is not None:
            self._generator.close()
            self._generator = None

    def _write(self, requests: Sequence[tuple[int, Request]], sampling: Sampling, seed: int, keep: Keep) -> None:
        started = time.monotonic()
        prompts = [_prompt(request) for _, request in requests]
        groups = self.generator.generate(prompts, n=1, sampling=sampling, seed=seed)
        latency = (time.monotonic() - started) / len(groups)  # they go through the engine together
        for (number, _), group in zip(requests, groups, strict=True):
            [completion] = group.completions
            reply = Reply(
                completion.text,
                completion.finish_reason,
                prompt_tokens=len(group.prompt_token_ids),
                completion_tokens=len(completion.token_ids),
                latency=latency,
            )
            keep(number, reply)

    def _weigh(self, requests: Sequence[tuple[int, Request]], keep: Keep) -> None:
        """Each choice's exact log-probability as the whole reply's beginning."""
        tokenizer: Any = chat.load_tokenizer(self.model.path)
        for number, request in requests:
            started = time.monotonic()
            prompt_ids = chat.render(tokenizer, _prompt(request))
            found = {}
            for choice in request.choices:
                ids = tokenizer.encode(choice, add_special_tokens=False)
                logps = self.generator.score_tokens([*prompt_ids, *ids])
                if logps is None:
                    reply = Reply(error=f"generator {self.config.provider} gives no log-probabilities", kind="lasting")
                    break
                found[choice] = sum(logps[-len(ids) :])
            else:
                reply = Reply(
                    max(found, key=lambda choice: found[choice]),
                    "stop",
                    found,
                    prompt_tokens=len(prompt_ids),
                    completion_tokens=1,
                    latency=time.monotonic() - started,
                )
            keep(number, reply)


def _decoding(request: Request) -> tuple[bool, int, float, int, bool]:
    """What a batch shares."""
    return bool(request.choices), request.max_tokens, request.temperature, request.seed, request.schema is not None


def _prompt(request: Request) -> Prompt:
    schema = "" if request.schema is None else canonical_json(request.schema)
    return Prompt(request.key[:16], tuple(dict(message) for message in request.messages), schema=schema)
