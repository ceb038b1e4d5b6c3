"""`exact_duplicates`: records that ask and answer what another did before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from harness.data.record import Flaw, Record
from harness.protocols import RunContext
from harness.types import Prompt, canonical_json
from harness_plugins.filters.duplicates.settings import ExactConfig


class ExactDuplicates:
    """The first stays. What is asked are all messages, the system's too, and the tools, as values. Answers are the same
    if their worth is too: one that is good here and bad there is a contradiction, not a copy."""

    def __init__(self, config: ExactConfig, context: RunContext) -> None:
        self.config = config

    def sketch(self, record: Record) -> bytes:
        """A digest of 16 bytes; empty where there is nothing to compare."""
        asked = self._asked(record.prompt) if record.prompt.messages else None
        answered = [[self._even(answer.text), answer.worth] for answer in record.answers]
        compared = {"record": [asked, answered], "prompt": asked, "answer": answered}[self.config.by]
        if not compared:
            return b""
        return blake2b(canonical_json(compared).encode(), digest_size=16).digest()

    def survey(self, sketches: Sequence[bytes]) -> Mapping[int, Flaw]:
        first: dict[bytes, int] = {}
        flaws = {}
        for index, sketch in enumerate(sketches):
            if sketch and (kept := first.setdefault(sketch, index)) != index:
                flaws[index] = Flaw("exact_duplicate", other=kept)
        return flaws

    def _asked(self, prompt: Prompt) -> str:
        return replace(
            prompt, messages=tuple({**m, "content": self._even(m.get("content"))} for m in prompt.messages)
        ).question

    def _even(self, content: Any) -> Any:
        if not isinstance(content, str):
            return content
        if self.config.normalise == "none":
            return content.strip()
        words = re.findall(r"\w+" if self.config.normalise == "words" else r"\S+", content.casefold())
        return " ".join(words) or content.strip()
