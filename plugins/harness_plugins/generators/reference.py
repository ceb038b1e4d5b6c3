"""A generator that returns each prompt's gold answer, which makes a demonstration a group like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import chat
from harness.errors import HarnessError
from harness.protocols import RunContext
from harness.specs import NoConfig
from harness.types import AdapterCheckpoint, Completion, Group, Prompt, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME = "reference"


class ReferenceGenerator:
    """One completion a prompt: `Prompt.reference` and the end-of-turn token, or a document where the prompt has no
    messages. Nothing is sampled, so no log-probs."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        """Raises HarnessError when n is not 1 (copies carry no information) or a prompt has no reference."""
        if n != 1:
            raise HarnessError(
                f"a prompt has one gold answer, not {n}", where="generator reference", remedy="Set the group size to 1."
            )
        return [self._group(prompt, sampling) for prompt in prompts]

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        """Gold answers are the same under every policy."""

    def score_tokens(self, token_ids: Sequence[int]) -> None:
        return None

    def close(self) -> None:
        pass

    def _group(self, prompt: Prompt, sampling: Sampling) -> Group:
        if prompt.reference is None:
            raise HarnessError(
                "no gold answer", where=f"prompt {prompt.id}", remedy="Add a `reference` or leave the prompt out."
            )
        encode = chat.encode_completion if prompt.messages else chat.encode_document
        ids = tuple(encode(self._tokenizer, prompt.reference))
        completion = Completion(prompt.reference, ids)
        return Group(prompt, tuple(chat.render(self._tokenizer, prompt)), (completion,), NAME, sampling, NAME)


def create_reference(config: NoConfig, context: RunContext) -> ReferenceGenerator:
    return ReferenceGenerator(chat.load_tokenizer(context.require_model().path))
