"""`llm_rank`: one question puts a whole group in order. Cheap, and not asked in a second order: `harness judge check`
says how often another order of the same answers changes the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from string import ascii_uppercase
from typing import Any

from harness.protocols import RunContext
from harness.types import Group, Preference, Score
from harness_judges.llm.asking import Asker, Settled, Unreadable, read_json, reply_schema
from harness_judges.llm.prompts import fence, load_template, question_of
from harness_judges.llm.provider import Reply, Request
from harness_judges.llm.settings import RankConfig

NAME = "llm_rank"


class RankJudge:
    """An answer's value is the share of the group's other different answers that it is put before. The answers are
    shown as they come: samples of one policy are in no order that means anything."""

    def __init__(self, config: RankConfig, context: RunContext) -> None:
        self.config = config
        known = ("question", "answers", "fields")
        self.template = load_template("rank", config.prompt, known=known, needed=known[:2])
        self.asker = Asker(NAME, config, context)

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [self._scores(group, *found) for group, found in zip(groups, self._ranked(groups), strict=True)]

    def compare(self, groups: Sequence[Group]) -> list[tuple[Preference, ...]]:
        """What was asked for the scores is not asked again."""
        result = []
        for group, (texts, settled) in zip(groups, self._ranked(groups), strict=True):
            places = _places(texts, settled)
            of = [places.get(completion.text.strip()) for completion in group.completions]
            result.append(
                tuple(
                    Preference(NAME, *((i, j) if a < b else (j, i)))
                    for (i, a), (j, b) in combinations(enumerate(of), 2)
                    if a is not None and b is not None and a != b
                )
            )
        return result

    def figures(self) -> dict[str, float]:
        return self.asker.figures()

    def close(self) -> None:
        self.asker.close()

    # ------------------------------------------------------------

    def _ranked(self, groups: Sequence[Group]) -> list[tuple[list[str], Settled[tuple[int, ...]] | None]]:
        """Each group's different answers as they were shown, and what was replied; None where nothing was asked."""
        shown = [_different(group) for group in groups]
        asked = [i for i, texts in enumerate(shown) if 1 < len(texts) <= len(ascii_uppercase)]
        settled = self.asker.settle([self._request(groups[i], shown[i]) for i in asked], self.read)
        by_group = dict(zip(asked, settled, strict=True))
        return [(texts, by_group.get(i)) for i, texts in enumerate(shown)]

    def _request(self, group: Group, texts: Sequence[str]) -> Request:
        labels = list(ascii_uppercase[: len(texts)])
        order = {"type": "array", "items": {"enum": labels}, "minItems": len(texts), "maxItems": len(texts)}
        schema = reply_schema({"order": order}, reasons=self.config.reasoning)
        values = {
            "question": fence(question_of(group.prompt), "request"),
            "answers": "\n\n".join(fence(text, f"answer {label}") for label, text in zip(labels, texts, strict=True)),
            "fields": ", ".join(schema["required"]),
        }
        return Request(self.template.fill(values), self.config.max_tokens, schema, (), self.config.temperature)

    def read(self, request: Request, reply: Reply) -> tuple[int, ...]:
        """The answers' numbers as they were shown, the best first."""
        assert request.schema is not None
        order = read_json(reply, request.schema)["order"]
        if len(set(order)) < len(order):
            raise Unreadable(f"the order {''.join(order)} names an answer twice")
        return tuple(ascii_uppercase.index(label) for label in order)

    def _scores(
        self, group: Group, texts: Sequence[str], settled: Settled[tuple[int, ...]] | None
    ) -> tuple[Score, ...]:
        if settled is None:
            why = f"there are {len(texts)} different answers to rank"
            return tuple(Score.abstained(NAME, why) for _ in group.completions)
        share = len(group.completions)
        paid: dict[str, Any] = {"cost": settled.cost / share, "latency": settled.latency / share, "raw": settled.raw}
        tokens = [settled.tokens // share + (i < settled.tokens % share) for i in range(share)]
        places = _places(texts, settled)
        if not places:
            return tuple(Score(NAME, None, "failed", explanation=settled.why, tokens=t, **paid) for t in tokens)
        scores = []
        for completion, spent in zip(group.completions, tokens, strict=True):
            place = places[completion.text.strip()]
            value = (len(texts) - 1 - place) / (len(texts) - 1)
            shown = f"place {place + 1} of {len(texts)}"
            scores.append(Score(NAME, value, explanation=shown, tokens=spent, **paid))
        return tuple(scores)


def _different(group: Group) -> list[str]:
    return list(dict.fromkeys(completion.text.strip() for completion in group.completions))


def _places(texts: Sequence[str], settled: Settled[tuple[int, ...]] | None) -> dict[str, int]:
    """Each answer's place from 0, the best; empty where there is no verdict."""
    if settled is None or settled.value is None:
        return {}
    return {texts[number]: place for place, number in enumerate(settled.value)}
