"""What is asked, as files that people can read and replace.

A template is text with a line `=== system` or `=== user` before each message. `{{name}}` stands for a value, and
`{{#name}} ... {{/name}}` is left out where that value is empty. Values are put in once and never looked at again, so
a placeholder within a judged answer stays text. Judged text stands between marks that carry a digest of it, which no
text can contain of itself: an answer cannot end its own fence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import ConfigError
from harness.jsonl import read_text
from harness.tools import render_tools
from harness.types import Prompt, digest

TEMPLATES = Path(__file__).parent / "templates"
HEADER = re.compile(r"^=== *(system|user|assistant) *$", re.MULTILINE)
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
SECTION = re.compile(r"\{\{#(\w+)\}\}\n?(.*?)\{\{/\1\}\}\n?", re.DOTALL)
ANY = re.compile(r"\{\{[#/]?(\w+)\}\}")


@dataclass(frozen=True)
class Template:
    """`known` are the names that it may use, `needed` those that it must."""

    text: str
    where: str
    known: frozenset[str]
    needed: frozenset[str]

    def __post_init__(self) -> None:
        if unknown := sorted(set(ANY.findall(self.text)) - self.known):
            raise ConfigError(
                f"{{{{{unknown[0]}}}}} is no value of this judge",
                where=self.where,
                remedy=f"It has {', '.join(sorted(self.known))}.",
            )
        if loose := re.search(r"\{\{[#/]\w+\}\}", SECTION.sub(lambda section: section[2], self.text)):
            raise ConfigError(
                f"{loose[0]} has no other half", where=self.where, remedy="Sections are not put into one another."
            )
        if missing := sorted(self.needed - set(PLACEHOLDER.findall(self.text))):
            raise ConfigError(
                f"{{{{{missing[0]}}}}} does not occur",
                where=self.where,
                remedy="A judge that is not shown it is blind.",
            )
        if not self.parts:
            raise ConfigError("it holds no message", where=self.where, remedy="Start with a line `=== user`.")

    @cached_property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """(role, text) of each message."""
        pieces = HEADER.split(self.text)
        return tuple((role, text.strip()) for role, text in zip(pieces[1::2], pieces[2::2], strict=True))

    def fill(self, values: Mapping[str, str]) -> tuple[dict[str, str], ...]:
        """The messages with these values. The template is read once, from left to right."""

        def shown(section: re.Match[str]) -> str:
            return section[2] if values[section[1]] else ""

        def put(text: str) -> str:
            return PLACEHOLDER.sub(lambda place: values[place[1]], SECTION.sub(shown, text)).strip()

        return tuple({"role": role, "content": put(text)} for role, text in self.parts)


def load_template(name: str, override: Path | None, *, known: Sequence[str], needed: Sequence[str]) -> Template:
    """The built-in template of that name, or the file in its place. Raises ConfigError naming what is wrong in it."""
    path = override or TEMPLATES / f"{name}.txt"
    return Template(read_text(path), str(path), frozenset(known), frozenset(needed))


def fence(text: str, name: str) -> str:
    """`text` between marks that it cannot contain."""
    mark = digest([name, text])[:8]
    return f"<{name} {mark}>\n{text}\n</{name} {mark}>"


def question_of(prompt: Prompt) -> str:
    """The chat as text, after its tools: the content alone where there is one message, else with its roles."""
    messages = [(str(message["role"]), str(message.get("content") or "")) for message in prompt.messages]
    lines = [content if len(messages) == 1 else f"{role}: {content}" for role, content in messages]
    return "\n\n".join(([render_tools(prompt.tools)] if prompt.tools else []) + lines)
