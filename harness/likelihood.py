"""How likely a policy finds texts that are given: what suites of kind "likelihood" evaluate. Nothing is drawn.

An item says what is read first, and what continues it:

    messages             a chat, up to the header of the answer      reference            one text
    target: "context"    raw text in place of a chat                 target: "choices"    several texts
    neither              the token that documents start with

`target` is a JSON object. Beside choices, its `gold` is the index of the right one or a list of such, and its
`delimiter` (default "") stands before each. Only the text is scored, not the token that would end it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import chat
from harness.demonstrations import demonstration
from harness.errors import ConfigError, PluginError
from harness.protocols import Generator, GivenTexts, Progress, RunContext, ScoringGenerator
from harness.types import Completion, Group, Prompt, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME = "given"
"""What stands for the generator in groups that none has drawn."""

AS_IS = Sampling(temperature=1.0)
"""The log-probabilities are those of the policy itself."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The candidates of an item, and which of them are right."""

    texts: tuple[str, ...]
    gold: frozenset[int]
    delimiter: str = ""


# ---------------------------------------------------------------- what an item says


def choices_of(prompt: Prompt) -> Choices | None:
    """The choices in the prompt's target, None if there are none. Raises ConfigError for some that are wrong."""
    target = _target(prompt)
    if "choices" not in target:
        return None
    texts, gold, delimiter = target["choices"], target.get("gold"), target.get("delimiter", "")
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(t, str) and t for t in texts):
        raise _item_error(prompt, "choices must be a list of at least two texts")
    indices: list[Any] = gold if isinstance(gold, list) and gold else [gold]
    if not all(type(index) is int and 0 <= index < len(texts) for index in indices):
        raise _item_error(
            prompt, f"gold = {gold!r} is not the index of one of its {len(texts)} choices, or a list of such"
        )
    if not isinstance(delimiter, str):
        raise _item_error(prompt, f"delimiter = {delimiter!r} is no text")
    return Choices(tuple(texts), frozenset(indices), delimiter)


def context_of(prompt: Prompt) -> str | None:
    """The raw text in the prompt's target that is read first, None if there is none."""
    context = _target(prompt).get("context")
    if context is not None and (not isinstance(context, str) or prompt.messages):
        raise _item_error(prompt, "context must be a text, and stands in place of messages")
    return context


def read_first(prompt: Prompt) -> str:
    """What stands before an answer or a text, to show it: the last message, or raw text; "" where nothing does."""
    return str(prompt.messages[-1]["content"]) if prompt.messages else context_of(prompt) or ""


def check_item(prompt: Prompt) -> None:
    """Raises ConfigError for an item that a likelihood suite cannot hold."""
    context_of(prompt)
    if choices_of(prompt) is None and not prompt.reference:
        raise _item_error(prompt, "it has neither a reference nor choices, so that no text is there to score")


def _target(prompt: Prompt) -> Mapping[str, Any]:
    try:
        value = json.loads(prompt.target or "{}")
    except json.JSONDecodeError as error:
        raise _item_error(prompt, f"its target is not JSON: {error}") from None
    return value if isinstance(value, dict) else {}


def _item_error(prompt: Prompt, what: str) -> ConfigError:
    return ConfigError(what, where=f"prompt {prompt.id}", remedy="Repair the item in its suite, or leave it out.")


# ---------------------------------------------------------------- what the policy thinks of it


def likelihood_groups(
    generator: Generator, items: Sequence[Prompt], *, policy_version: str, context: RunContext, where: str
) -> list[Group]:
    """For each item the texts that continue it, as completions with the log-probability of each of their tokens by the
    policy that `generator` serves.

    Raises ConfigError for an item that says none, or when the generator holds no weights.
    """
    tokenizer = chat.load_tokenizer(context.require_model().path)
    for item in items:
        check_item(item)
    encoded = [_encoded(tokenizer, item) for item in items]
    scored = _logprobs(generator, [(prompt_ids, ids_of) for prompt_ids, _, ids_of in encoded], context.progress, where)
    return [
        Group(
            item,
            tuple(prompt_ids),
            # There is no end-of-turn token, which is what "length" says.
            tuple(Completion(*parts, "length") for parts in zip(texts, map(tuple, ids_of), logps_of, strict=True)),
            policy_version,
            AS_IS,
            NAME,
        )
        for item, (prompt_ids, texts, ids_of), logps_of in zip(items, encoded, scored, strict=True)
    ]


def _encoded(tokenizer: PreTrainedTokenizerBase, item: Prompt) -> tuple[list[int], list[str], list[list[int]]]:
    """Token ids of what is read first; the texts that continue it, and theirs."""
    choices, raw = choices_of(item), context_of(item)
    if choices is not None:
        texts = [choices.delimiter + text for text in choices.texts]
    else:
        texts = [demonstration(tokenizer, item)]
    if raw is None:
        return chat.render(tokenizer, item), texts, [chat.encode_text(tokenizer, text) for text in texts]
    # Tokenizers put spaces at the start of words, so that those at the end of the context are the text's.
    kept = raw.rstrip()
    texts = [raw[len(kept) :] + text for text in texts]
    prompt_ids, ids_of = chat.encode_after(tokenizer, kept, texts)
    return prompt_ids, texts, ids_of


def _logprobs(
    generator: Generator, given: Sequence[GivenTexts], progress: Progress, where: str
) -> list[tuple[tuple[float, ...], ...]]:
    """Of each token of each text, by prompt: in one call where the generator has one, else text by text."""
    name = type(generator).__name__
    if isinstance(generator, ScoringGenerator):
        scored = generator.score_texts(given)
        if [[len(logps_T) for logps_T in of] for of in scored] != [[len(ids) for ids in texts] for _, texts in given]:
            raise PluginError("score_texts() does not give one value a token", where=f"generator {name}")
        return scored

    def alone(prompt_ids: Sequence[int], ids: Sequence[int]) -> tuple[float, ...]:
        logps_T = generator.score_tokens([*prompt_ids, *ids])
        if logps_T is None:
            raise ConfigError(
                f"{name} holds no weights, so that it gives no log-probabilities",
                where=where,
                remedy='Evaluate with generator = "vllm" or "transformers".',
            )
        if len(logps_T) != len(prompt_ids) + len(ids) - 1:
            raise PluginError(
                f"score_tokens() gives {len(logps_T)} values for {len(prompt_ids) + len(ids)} tokens",
                where=f"generator {name}",
            )
        return tuple(logps_T[len(prompt_ids) - 1 :])

    tracked = progress.track(given, description="score texts")
    return [tuple(alone(prompt_ids, ids) for ids in texts) for prompt_ids, texts in tracked]
