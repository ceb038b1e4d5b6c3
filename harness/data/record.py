"""What data verbs and filters work on, and what a filter says of it.

file, run -> Record -> filters -> Flaw -> kept, rewritten or dropped
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.types import Prompt

RecordKind = Literal["demonstration", "pair", "label", "group", "text", "prompt"]
"""One good answer; a chosen before a rejected one; one that is good or bad; n with their rewards; raw text; none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a record's prompt. `worth` is its reward: 1 if it is demonstrated, chosen or good, 0 if it is
    rejected or bad, None where it is not known."""

    text: str
    worth: float | None = 1.0


@dataclass(frozen=True, slots=True)
class Record:
    """One training example.

    Raw text is an answer to a prompt without messages. Messages are as they were found: roles may be anything, and the
    last need not be the user's; to say so is the work of filters.
    """

    prompt: Prompt
    answers: tuple[Answer, ...]
    kind: RecordKind
    source: str = ""
    """The file or run that it is from, as it was named."""
    place: int = 0
    """Line (JSONL), row (other files) or group (runs) in its source, from 1."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Columns that mean nothing here, as JSON values: kept and written again."""

    @property
    def where(self) -> str:
        """`FILE:LINE`, as errors say it."""
        return f"{self.source}:{self.place}"

    @property
    def asked(self) -> str:
        """Text of all messages but the system's, a line each."""
        said = (str(m.get("content") or "") for m in self.prompt.messages if m.get("role") != "system")
        return "\n".join(said)

    @property
    def text(self) -> str:
        """Everything that is asked and answered, as filters of text read it; system messages, which records share, are
        left out."""
        return "\n".join(filter(None, [self.asked, *(answer.text for answer in self.answers)]))


@dataclass(frozen=True, slots=True)
class Flaw:
    """What a filter has against a record.

    `answer` says that it has it against that answer alone: where others are left to learn from (a group of more than
    two, or of which one is still good and one bad), only that one goes. `rewritten` is the record without the flaw,
    where it can be mended. `other` is the index, among the records surveyed, of the one that this one repeats or
    contradicts.
    """

    reason: str
    """One word or two with underscores, the same for all flaws of a sort: `email`, `near_duplicate`."""
    detail: str = ""
    """What exactly, for people. Never the secret or the personal data themselves: reports are shown around."""
    answer: int | None = None
    rewritten: Record | None = None
    other: int | None = None
