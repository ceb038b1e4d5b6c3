"""Gold answers in the words of the model that is to learn them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import chat
from harness.chat_template import RefusedError, apply, chat_of, source, tools_keyword
from harness.errors import HarnessError
from harness.tools import ToolCall, parse_calls, write_tagged_calls
from harness.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def demonstration(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
    """The prompt's gold answer as this model is to give it, without the token that ends it.

    Calls under a template that knows tools are written by the template itself. Where it leaves them out (SmolLM3),
    they are `<tool_call>` blocks if the template teaches those. Neither is taken unless the judges would read it back
    as the same calls. Then, as for any other prompt, it is the reference as it stands, a JSON array: so it is for
    several calls under a template that takes one at a time (Llama 3). Raises HarnessError when there is no reference.
    """
    reference = prompt.reference
    if reference is None:
        raise HarnessError(
            "no gold answer", where=f"prompt {prompt.id}", remedy="Add a `reference` or leave the prompt out."
        )
    if not prompt.tools or not tools_keyword(tokenizer):
        return reference
    try:
        calls = parse_calls(reference)
    except ValueError:
        return reference
    for answer in _answers(tokenizer, calls):
        text = _as_rendered(tokenizer, prompt, answer)
        if text is not None and _reads_as(chat.decode(tokenizer, chat.encode_completion(tokenizer, text)), calls):
            return text
    return reference


def _answers(tokenizer: PreTrainedTokenizerBase, calls: Sequence[ToolCall]) -> Iterator[dict[str, Any]]:
    """Assistant messages that make these calls, the most native one first."""
    if not calls:
        yield {"role": "assistant", "content": "[]"}
        return
    made = [
        # Mistral's templates insist on ids of nine letters and digits.
        {"id": f"call{i:05d}", "type": "function", "function": {"name": c.name, "arguments": dict(c.arguments)}}
        for i, c in enumerate(calls)
    ]
    yield {"role": "assistant", "content": "", "tool_calls": made}
    if "<tool_call>" in source(tokenizer, has_tools=True):
        yield {"role": "assistant", "content": write_tagged_calls(calls)}


def _as_rendered(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: Mapping[str, Any]) -> str | None:
    """What the template writes between the header of the answer and its end, None where it does not continue it."""
    messages, options = chat_of(tokenizer, prompt)
    try:
        asked = apply(tokenizer, messages, add_generation_prompt=True, tokenize=False, **options)
        whole = apply(tokenizer, [*messages, answer], tokenize=False, **options)
    except RefusedError:
        return None
    end_of_turn = str(tokenizer.decode([chat.end_of_turn_id(tokenizer)]))
    text, end, _ = whole.removeprefix(asked).rpartition(end_of_turn)
    return text if whole.startswith(asked) and end else None


def _reads_as(text: str, calls: Sequence[ToolCall]) -> bool:
    try:
        return parse_calls(text) == list(calls)
    except ValueError:
        return False
