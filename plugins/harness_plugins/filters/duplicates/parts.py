"""What of a record is compared, and what must be the same before texts are compared at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

from harness.data.record import Record
from harness.types import canonical_json
from harness_plugins.filters.duplicates.settings import By

_NUMBER = re.compile(r"[-+*/^%<>=×÷−]?\s*\d+")


def parts(record: Record, by: By) -> tuple[str, ...]:
    """Texts that must each be alike: a prompt, and the answers. Those of a pair are apart, for a pair with the two
    swapped says the contrary. Empty if there is no text."""
    answers = tuple(answer.text.strip() for answer in record.answers)
    answered = answers if record.kind == "pair" else ("\n".join(answers),)
    found = {"record": (record.asked.strip(), *answered), "prompt": (record.asked.strip(),), "answer": answered}[by]
    return found if any(found) else ()


def guard(record: Record, by: By, texts: Sequence[str], *also: object, same_numbers: bool) -> bytes:
    """8 bytes that differ unless the tools, the worth of the answers and (`same_numbers`) the numbers are the same,
    each with the sign or operator before it and in order: 5 - 3 is not 5 + 3, and 3 factorial is not 5 factorial."""
    same: list[object] = [len(texts), *also]
    same.append(record.prompt.tools if by != "answer" else "")
    same.append([answer.worth for answer in record.answers] if by != "prompt" else [])
    if same_numbers:
        same.append([["".join(number.split()) for number in _NUMBER.findall(text)] for text in texts])
    return blake2b(canonical_json(same).encode(), digest_size=8).digest()
