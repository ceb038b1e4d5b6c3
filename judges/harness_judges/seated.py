"""What judges that are made of judges have in common: `panel` and `cascade`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.judging import checked_scores, close_judge, figures_of
from harness.protocols import Judge, RunContext
from harness.seats import make_judge
from harness.specs import JudgeSeat
from harness.types import Group, Score
from harness_judges.wording import sentence


@dataclass(frozen=True)
class Seated:
    """A judge within another, under a label of its own."""

    label: str
    name: str
    judge: Judge

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return checked_scores(self.name, self.judge, groups)

    def figures(self) -> dict[str, float]:
        """What it says of itself, under its label."""
        return {f"{self.label}/{name}": value for name, value in figures_of(self.judge).items()}

    def close(self) -> None:
        close_judge(self.judge)


def seat_all(seats: Sequence[JudgeSeat], names: Sequence[str], context: RunContext, *, where: str) -> list[Seated]:
    """The judges, labelled by `names`; a name that several have is numbered."""
    labels = [f"{name}-{names[: i + 1].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]
    return [
        Seated(label, seat.name, make_judge(seat, context, where=where))
        for label, seat in zip(labels, seats, strict=True)
    ]


def paid(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Cost, tokens, latency and replies of several verdicts, by label, as fields of the one made of them."""
    raw = {label: score.raw for label, score in scores.items() if score.raw}
    return {
        "cost": sum(score.cost for score in scores.values()),
        "tokens": sum(score.tokens for score in scores.values()),
        "latency": sum(score.latency for score in scores.values()),
        "raw": json.dumps(raw, ensure_ascii=False) if raw else "",
    }


def tell(scores: Mapping[str, Score]) -> str:
    """Each one's value, or why it has none."""
    return sentence(", ".join(f"{label} {_verdict(score)}" for label, score in scores.items()))


def _verdict(score: Score) -> str:
    if score.value is not None:
        return f"{score.value:.4g}"
    return f"{score.status} ({score.explanation})" if score.explanation else score.status
