"""`llm_rank`: one question puts a whole group in order. Cheap, and not asked in a second order: `harness judge check`
says how often another order of the same answers changes the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Ranking:
    """Each different answer's place from 0, the best; empty where there is no verdict. `settled`: what was asked."""

    places: Mapping[str, int]
    settled: Settled[tuple[int, ...]] | None


class RankJudge:
    """An answer's value is the share of the group's other different answers that it is put before. The answers are
    shown as they come: samples of one policy are in no order that means anything. An empty one is not shown, and last.
    """

    def __init__(self, config: RankConfig, context: RunContext) -> None:
        self.config = config
        known = ("question", "answers", "fields")
        self.template = load_template("rank", config.prompt, known=known, needed=known[:2])
        self.asker = Asker(NAME, config, context)

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [self._scores(group, found) for group, found in zip(groups, self._ranked(groups), strict=True)]

    def compare(self, groups: Sequence[Group]) -> list[tuple[Preference, ...]]:
        """What was asked for the scores is not asked again."""
        result = []
        for group, ranking in zip(groups, self._ranked(groups), strict=True):
            of = [ranking.places.get(completion.text.strip()) for completion in group.completions]
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

    def _ranked(self, groups: Sequence[Group]) -> list[Ranking]:
        shown = [_different(group) for group in groups]
        asked = [i for i, texts in enumerate(shown) if 1 < len(texts) <= len(ascii_uppercase)]
        settled = self.asker.settle([self._request(groups[i], shown[i]) for i in asked], self.read)
        by_group = dict(zip(asked, settled, strict=True))
        return [_ranking(groups[i], texts, by_group.get(i)) for i, texts in enumerate(shown)]

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

    def _scores(self, group: Group, ranking: Ranking) -> tuple[Score, ...]:
        places, settled, share = ranking.places, ranking.settled or Settled(None), len(group.completions)
        paid: dict[str, Any] = {"cost": settled.cost / share, "latency": settled.latency / share, "raw": settled.raw}
        tokens = [settled.tokens // share + (i < settled.tokens % share) for i in range(share)]
        if ranking.settled is not None and settled.value is None:
            return tuple(Score(NAME, None, "failed", explanation=settled.why, tokens=t, **paid) for t in tokens)
        if len(places) < 2:
            why = f"there are not 2 to {len(ascii_uppercase)} different answers to rank"
            return tuple(Score.abstained(NAME, why) for _ in group.completions)
        scores = []
        for completion, spent in zip(group.completions, tokens, strict=True):
            place = places[completion.text.strip()]
            value = (len(places) - 1 - place) / (len(places) - 1)
            shown = f"place {place + 1} of {len(places)}"
            scores.append(Score(NAME, value, explanation=shown, tokens=spent, **paid))
        return tuple(scores)


def _different(group: Group) -> list[str]:
    """The answers that say something."""
    return [text for text in dict.fromkeys(completion.text.strip() for completion in group.completions) if text]


def _ranking(group: Group, texts: Sequence[str], settled: Settled[tuple[int, ...]] | None) -> Ranking:
    order = (0,) if len(texts) == 1 else settled.value if settled is not None else ()
    if order is None or len(order) < len(texts):
        return Ranking({}, settled)
    places = {texts[number]: place for place, number in enumerate(order)}
    blank = {"": len(texts)} if any(not completion.text.strip() for completion in group.completions) else {}
    return Ranking({**places, **blank}, settled)
