"""The `format` filter: roles and turns as chats have them, text without a template's marks, calls that tools take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.data.record import Flaw, Record
from harness.specs import NoConfig
from harness_plugins.filters.quality.calls import call_flaw, tools_flaw
from harness_plugins.filters.quality.text import learnt, prose

ROLES = ("system", "user", "assistant", "tool")
ANSWERS = {"demonstration": 1, "pair": 2, "label": 1, "group": 1, "text": 1, "prompt": 0}

# Tokenizers read these as special tokens wherever they stand, in code too.
_TOKEN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|begin_of_text|end_of_text|eot_id|eom_id|start_header_id|end_header_id"
    r"|system|user|assistant|end|start|channel|message|endofprompt)\|>|</?s>\s*\Z|\A\s*<s>|\[/?INST\]|<</?SYS>>"
    r"|<(?:start|end)_of_turn>|<\|(?:START|END)_OF_TURN_TOKEN\|>|<｜(?:User|Assistant|begin▁of▁sentence)｜>"
)
_TOKEN_STARTS = ("<|", "[INST]", "[/INST]", "<<", "<s>", "</s>", "_of_turn>", "<｜")
_ASKER = re.compile(r"^[ \t]*(?:#{2,3} ?|\*\*)?(?:Human|User|USER|Instruction|Question|Input)\s?:", re.MULTILINE)
_OPENING = re.compile(r"\s*(?:#{2,3} ?|\*\*)?(?:Assistant|ASSISTANT|AI|Bot|Response|Human|User)\s?:")
_HEADINGS = (("### Instruction:", "### Response:"), ("### Human:", "### Assistant:"))
_DIALOGUE = re.compile(r"dialog|conversation|script|transcript|interview|role-?play|chat|scene", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"\{\{?\s?(?:instruction|input|output|question|prompt|context|answer|response|query|user_input|user_message"
    r"|system_prompt|user_query|text|document|article|passage)\s?\}\}?|\{%-?\s?(?:for|if|endif|endfor|set)\b"
    r"|<(?:insert|your|name of)[ _][^<>\n]{1,40}>|\[(?:insert|your answer|placeholder)\b[^\]\n]{0,40}\]",
    re.IGNORECASE,
)


class FormatFilter:
    """Raw text has no turns. An answer of worth 0 may be as it is because it is wrong: it must only say something, and
    in a group not even that."""

    def __init__(self, config: NoConfig) -> None:
        pass

    def check(self, record: Record) -> Sequence[Flaw]:
        """One flaw for each reason at most, the first that is found."""
        first: dict[str, Flaw] = {}
        for flaw in (*_turns(record), *_answers(record)):
            first.setdefault(flaw.reason, flaw)
        return tuple(first.values())


def _turns(record: Record) -> Iterator[Flaw]:
    messages = record.prompt.messages
    before: Any = None
    for place, message in enumerate(messages, start=1):
        role = message.get("role")
        if role not in ROLES:
            yield Flaw("unknown_role", f"message {place}")
        elif role == "system" and place > 1:
            yield Flaw("system_not_first", f"message {place}")
        elif role == before and role in ("user", "assistant"):
            yield Flaw("repeated_role", f"{role}, messages {place - 1} and {place}")
        before = role
        if role != "system" and _is_empty(message):
            yield Flaw("empty_turn", f"message {place}")
        if isinstance(content := message.get("content"), str):
            yield from _marks(content, f"message {place}")
    if messages and before not in ("user", "tool"):
        yield Flaw("no_question", f"the last of {len(messages)} messages is not the user's or a tool's")
    elif not messages and record.kind not in ("text", "group"):
        yield Flaw("no_question", "there is no message")
    if record.prompt.tools and (wrong := tools_flaw(record.prompt.tools)) is not None:
        yield Flaw("bad_tools", wrong)


def _is_empty(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    said = content.strip() if isinstance(content, str) else content
    return not said and not message.get("tool_calls") and message.get("role") != "tool"


def _marks(text: str, where: str) -> Iterator[Flaw]:
    if any(start in text for start in _TOKEN_STARTS) and (found := _TOKEN.search(text)) is not None:
        yield Flaw("separator", f"{found[0].strip()} in {where}")
    elif "### " in text and any(one in text and other in text for one, other in _HEADINGS):
        yield Flaw("separator", f"headings of a template in {where}")


def _answers(record: Record) -> Iterator[Flaw]:
    if len(record.answers) < ANSWERS[record.kind]:
        yield Flaw("no_answer", f"{len(record.answers)} where a {record.kind} has {ANSWERS[record.kind]}")
    for index, answer in enumerate(record.answers):
        if not answer.text.strip() and (answer.worth != 0 or record.kind != "group"):
            yield Flaw("empty_answer", answer=index)
    if record.kind == "pair" and len({answer.text.strip() for answer in record.answers}) < len(record.answers):
        yield Flaw("equal_pair")
    for index, text in learnt(record):
        for reason, detail in _answer(record, text):
            yield Flaw(reason, detail, answer=index)


def _answer(record: Record, text: str) -> Iterator[tuple[str, str]]:
    for flaw in _marks(text, "an answer"):
        yield flaw.reason, flaw.detail
    if record.kind == "text":
        return
    if ":" in text and _OPENING.match(text) and not _DIALOGUE.search(record.asked):
        yield "separator", "an answer begins with a turn's mark"
    elif (
        ":" in text
        and "\n" in text
        and (found := _ASKER.search(text, text.index("\n"))) is not None
        and not _DIALOGUE.search(record.asked)
    ):
        yield "extra_turn", f"a line begins with {found[0].strip()}"
    if ("{" in text or "[" in text or "<" in text) and (found := _PLACEHOLDER.search(prose(text))) is not None:
        yield "placeholder", found[0]
    if (wrong := call_flaw(record.prompt, text)) is not None:
        yield wrong
