"""What a tokenizer's chat template can do, and the chat that it is given for a prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.tools import DECLINE, render_tools
from harness.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATE = date(2025, 1, 1)
"""The day on which every chat takes place. Some templates write it, and with the real one prompts change overnight."""

MARK = "harnessmark"
USER = {"role": "user", "content": "q"}
NOTHING = {"type": "object", "properties": {}}


class RefusedError(HarnessError):
    """The chat template does not take this chat."""

    def __init__(self, reason: str, *, where: str = "") -> None:
        super().__init__(
            f"the model's chat template refuses this chat ({reason})",
            where=where,
            remedy="Use roles and an order of messages that the model was trained with.",
        )


def source(tokenizer: PreTrainedTokenizerBase, *, has_tools: bool) -> str:
    """Source of the chat template that applies (a tokenizer may carry a second one for tools).

    Raises HarnessError when there is none.
    """
    try:
        return tokenizer.get_chat_template(tools=[{}] if has_tools else None)
    except ValueError:
        raise HarnessError(
            "the tokenizer has no chat template",
            where=str(tokenizer.name_or_path),
            remedy="Use an instruct model, or put a chat_template.jinja into the model folder.",
        ) from None


def apply(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]], *, where: str = "", **options: Any
) -> Any:
    """`apply_chat_template` of the tokenizer with its options. Raises RefusedError, for `where`, when it refuses."""
    import jinja2

    if "strftime_now" in source(tokenizer, has_tools=bool(options.get("tools"))):
        options["strftime_now"] = DATE.strftime
    try:
        return tokenizer.apply_chat_template([dict(message) for message in messages], **options)
    except (jinja2.TemplateError, TypeError, KeyError) as error:
        raise RefusedError(str(error), where=where) from None


def chat_of(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
    """The messages to apply the template to, and the options to apply it with.

    A template that knows tools is given them, with one line on how to decline; for any other, `render_tools` writes
    them into the system message. A template without a system role finds its text in the user's first message.
    """
    messages: list[Mapping[str, Any]] = list(prompt.messages)
    options: dict[str, Any] = {}
    if prompt.tools and (tools := json.loads(prompt.tools)):
        if keyword := tools_keyword(tokenizer):
            options[keyword] = [{"type": "function", "function": tool} for tool in tools]
            messages = with_decline(messages)
        else:
            messages = with_tools(messages, prompt.tools)
    if messages and messages[0]["role"] == "system" and not _has_system_role(tokenizer):
        messages = _without_system(messages)
    return messages, options


def with_tools(messages: Sequence[Mapping[str, Any]], tools: str) -> list[Mapping[str, Any]]:
    """The chat with the tools (a JSON array) and how to call them written into its system message."""
    return _with_system(list(messages), "{ours}\n\n{own}", render_tools(tools))


def with_decline(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The chat with one line in its system message on how to decline, for tools that are handed over beside it."""
    return _with_system(list(messages), "{own}\n\n{ours}", DECLINE)


def _with_system(messages: list[Mapping[str, Any]], layout: str, ours: str) -> list[Mapping[str, Any]]:
    if not messages or messages[0]["role"] != "system":
        return [{"role": "system", "content": ours}, *messages]
    content = layout.format(own=messages[0]["content"], ours=ours)
    return [{**messages[0], "content": content}, *messages[1:]]


def _without_system(messages: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    system, *rest = messages
    if not rest or rest[0]["role"] != "user":
        return messages
    return [{**rest[0], "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]]


def tools_keyword(tokenizer: PreTrainedTokenizerBase) -> str:
    """The variable in which the chat template takes tools, "" if it knows none.

    It is `tools` by convention; SmolLM3's template was first published with `xml_tools`.
    """
    if "tools" not in source(tokenizer, has_tools=True):
        return ""
    tool = {"type": "function", "function": {"name": MARK, "description": "", "parameters": NOTHING}}
    return next((name for name in ("tools", "xml_tools") if _shows_mark(tokenizer, [USER], **{name: [tool]})), "")


def _has_system_role(tokenizer: PreTrainedTokenizerBase) -> bool:
    return _shows_mark(tokenizer, [{"role": "system", "content": MARK}, USER])


def _shows_mark(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]], **options: Any) -> bool:
    try:
        return MARK in apply(tokenizer, messages, tokenize=False, add_generation_prompt=True, **options)
    except RefusedError:
        return False
