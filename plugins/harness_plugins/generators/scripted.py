"""A generator that answers from its settings: for tests, dry runs and continuous integration."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from harness.errors import HarnessError
from harness.protocols import RunContext
from harness.types import BASE_POLICY, AdapterCheckpoint, Completion, FinishReason, Group, Prompt, Sampling
from harness_plugins.generators.configs import ScriptedConfig

NAME = "scripted"
REFERENCE = "$reference"


class Codec(Protocol):
    """Text to token ids and back."""

    def prompt(self, prompt: Prompt) -> list[int]: ...

    def encode(self, text: str) -> list[int]:
        """Ids with the end-of-turn token."""
        ...

    def decode(self, ids: Sequence[int]) -> str: ...


class ByteCodec:
    """UTF-8 bytes as ids 0 to 255, and 256 for end of turn: all that is needed where no model reads them."""

    END = 256

    def prompt(self, prompt: Prompt) -> list[int]:
        return list("\n".join(str(message["content"]) for message in prompt.messages).encode())

    def encode(self, text: str) -> list[int]:
        return [*text.encode(), self.END]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if i != self.END).decode(errors="replace")


class ModelCodec:
    """The ids of a real model, so that its adapters can be trained on scripted answers."""

    def __init__(self, context: RunContext) -> None:
        from harness import chat

        self._chat = chat
        self._tokenizer = chat.load_tokenizer(context.require_model().path)

    def prompt(self, prompt: Prompt) -> list[int]:
        return self._chat.render(self._tokenizer, prompt)

    def encode(self, text: str) -> list[int]:
        return self._chat.encode_completion(self._tokenizer, text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._chat.decode(self._tokenizer, ids)


class ScriptedGenerator:
    """Answers by prompt id, policy version and position; equal arguments give equal answers.

    Of the sampling settings only `max_tokens` has a meaning here: it cuts an answer short, as a model would be.
    """

    def __init__(self, config: ScriptedConfig, codec: Codec) -> None:
        self._config, self._codec, self._version = config, codec, BASE_POLICY

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        return [self._group(prompt, n, sampling, seed) for prompt in prompts]

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        self._version = checkpoint.version if checkpoint else BASE_POLICY

    def score_tokens(self, token_ids: Sequence[int]) -> None:
        return None

    def close(self) -> None:
        pass

    def _group(self, prompt: Prompt, n: int, sampling: Sampling, seed: int) -> Group:
        answers = self._answers(prompt)
        completions = tuple(
            self._complete(answers[self._pick(prompt, seed, i) % len(answers)], prompt, sampling) for i in range(n)
        )
        return Group(prompt, tuple(self._codec.prompt(prompt)), completions, self._version, sampling, NAME)

    def _answers(self, prompt: Prompt) -> tuple[str, ...]:
        config = self._config
        by_version = config.by_version.get(self._version) or config.by_version.get("*")
        return config.answers.get(prompt.id) or by_version or config.default

    def _pick(self, prompt: Prompt, seed: int, index: int) -> int:
        if self._config.pick == "cycle":
            return index
        return int.from_bytes(hashlib.sha256(f"{seed}\0{prompt.id}\0{index}".encode()).digest()[:8])

    def _complete(self, answer: str, prompt: Prompt, sampling: Sampling) -> Completion:
        ids = self._codec.encode(_resolve(answer, prompt))
        kept = ids[: sampling.max_tokens]
        logprobs = None if self._config.logprob is None else (self._config.logprob,) * len(kept)
        finish: FinishReason = "stop" if len(kept) == len(ids) else "length"
        return Completion(self._codec.decode(kept), tuple(kept), logprobs, finish)


def _resolve(answer: str, prompt: Prompt) -> str:
    if answer != REFERENCE:
        return answer
    if prompt.reference is None:
        raise HarnessError(
            f"the script says {REFERENCE} but the prompt has no reference",
            where=f"prompt {prompt.id}",
            remedy="Give the prompt a reference or script another answer.",
        )
    return prompt.reference


def create_scripted(config: ScriptedConfig, context: RunContext) -> ScriptedGenerator:
    """Without a model in the context, text is tokenized as bytes."""
    return ScriptedGenerator(config, ModelCodec(context) if context.model else ByteCodec())
