"""The `format` judge: does the answer have the form that is asked for?"""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.types import Completion, Score
from harness_judges import prose
from harness_judges.pointwise import PointwiseJudge, for_every_prompt
from harness_judges.settings import FormatConfig

NAME = "format"

Check = Callable[[str], str | None]
"""What is wrong with a text, or None."""

_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
_CODE_BLOCK = re.compile(r"^ {0,3}(```+|~~~+)[^\n]*\n.*?^ {0,3}\1", re.MULTILINE | re.DOTALL)
# Marks that prose does not have: a lone asterisk, underscore or number may mean something else.
_MARKDOWN = re.compile(
    r"^ {0,3}#{1,6} \S|^[ \t]*[-*+] \S|^[ \t]*>[ \t]?\S|^ {0,3}(?:```|~~~)|^\|.*\|[ \t]*$"
    r"|\*\*\S[^\n]*?\*\*|__\S[^\n]*?__|`[^`\n]+`|!?\[[^\]\n]+\]\([^)\s]+\)",
    re.MULTILINE,
)
_ENDING = re.compile(r"[.!?…。！？][\"'”’)\]*_]*$")


def format_judge(config: FormatConfig) -> PointwiseJudge:
    """The share of the properties asked for that the answer has. The label is ok, or the first that it has not."""
    checks = _checks(config)

    def score(completion: Completion) -> Score:
        wrong = {name: why for name, check in checks.items() if (why := check(completion.text)) is not None}
        value = 1 - len(wrong) / len(checks)
        return Score(NAME, value, label=next(iter(wrong), "ok"), explanation="; ".join(wrong.values()))

    return PointwiseJudge(for_every_prompt(score))


def _checks(config: FormatConfig) -> dict[str, Check]:
    """By the name of the setting that asks for it."""
    found: dict[str, Check] = {}
    if config.no_markdown:
        found["no_markdown"] = lambda text: "there is Markdown in it" if _MARKDOWN.search(text) else None
    if config.ends_with_sentence:
        found["ends_with_sentence"] = lambda text: None if _ENDING.search(text.rstrip()) else "its end is open"
    if config.code_block is not None:
        found["code_block"] = _code_block(wanted=config.code_block)
    counts: tuple[tuple[str, Callable[[str], int]], ...] = (
        ("lines", lambda text: sum(bool(line.strip()) for line in text.splitlines())),
        ("items", lambda text: len(prose.LIST_ITEM.findall(text))),
        ("sentences", lambda text: len(prose.sentences(text))),
    )
    for unit, count in counts:
        low, high = getattr(config, f"min_{unit}"), getattr(config, f"max_{unit}")
        if low is not None:
            found[f"min_{unit}"] = _at_least(low, unit, count)
        if high is not None:
            found[f"max_{unit}"] = _at_most(high, unit, count)
    return found


def _code_block(*, wanted: bool) -> Check:
    def check(text: str) -> str | None:
        if wanted:
            return None if _CODE_BLOCK.search(text) else "there is no whole code block in it"
        return "there is a code block in it" if _FENCE.search(text) else None

    return check


def _at_least(limit: int, unit: str, count: Callable[[str], int]) -> Check:
    return lambda text: f"{n} {unit} where at least {limit} are asked for" if (n := count(text)) < limit else None


def _at_most(limit: int, unit: str, count: Callable[[str], int]) -> Check:
    return lambda text: f"{n} {unit} where at most {limit} are asked for" if (n := count(text)) > limit else None
