"""The `panel` judge: several judges that decide together, and how much they agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from harness.errors import ConfigError
from harness.protocols import RunContext
from harness.types import Group, Score, ScoreStatus
from harness_judges.seated import paid, seat_all, tell
from harness_judges.settings import PanelConfig

NAME = "panel"


class PanelJudge:
    """The weighted mean of its members' values, or what most of their weight votes for (Verga et al. 2024,
    arXiv:2404.18796: a panel of small judges of several families is closer to people than one large judge).

    Members that abstain or fail are left out. Where fewer than the quorum are left the panel has failed, unless it
    would be short of it even if those that failed had scored: then it has abstained. From a tie of votes it abstains as
    well (label `tie`): the panel has no opinion there, and none is not 0.5.
    """

    def __init__(self, config: PanelConfig, context: RunContext) -> None:
        if not config.same_family:
            _require_different_families(config, context)
        self.members = seat_all(
            config.members, [seat.family or seat.name for seat in config.members], context, where="judge panel, member"
        )
        self.weights = {m.label: seat.weight for m, seat in zip(self.members, config.members, strict=True)}
        self.majority = config.how == "majority"
        self.quorum = config.quorum or len(config.members) // 2 + 1
        self.judged = 0
        self.failed = Counter[str]()
        self.pairs = 0
        self.agreed = 0.0

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        columns = {member.label: member.score(groups) for member in self.members}
        return [
            tuple(
                self._decide({label: column[g][c] for label, column in columns.items()})
                for c in range(len(group.completions))
            )
            for g, group in enumerate(groups)
        ]

    def figures(self) -> dict[str, float]:
        """`agreement` is the mean of 1 - |a - b| over all completions and all pairs of members that both scored one, of
        their values a and b, or of their votes (0 or 1) for a majority; absent without such a pair. `MEMBER/failed` is
        the share of completions that a member failed to judge; the rest of `MEMBER/...` is what it says of itself."""
        found = {"agreement": self.agreed / self.pairs} if self.pairs else {}
        for member in self.members:
            found |= member.figures()
            if self.judged:
                found[f"{member.label}/failed"] = self.failed[member.label] / self.judged
        return found

    def close(self) -> None:
        for member in self.members:
            member.close()

    def _decide(self, scores: Mapping[str, Score]) -> Score:
        opinions = {label: self._opinion(s.value) for label, s in scores.items() if s.value is not None}
        failed = [label for label, score in scores.items() if score.status == "failed"]
        self._count(list(opinions.values()), failed)
        value, label = self._verdict(opinions) if len(opinions) >= self.quorum else (None, "")
        status: ScoreStatus = "abstained" if value is None else "scored"
        if len(opinions) < self.quorum <= len(opinions) + len(failed):
            status = "failed"
        return Score(NAME, value, status, label, tell(scores), **paid(scores))

    def _opinion(self, value: float) -> float:
        return float(value >= 0.5) if self.majority else value

    def _verdict(self, opinions: Mapping[str, float]) -> tuple[float | None, str]:
        mean = math.fsum(self.weights[label] * opinion for label, opinion in opinions.items()) / math.fsum(
            self.weights[label] for label in opinions
        )
        if not self.majority:
            return min(1.0, mean), ""
        return (None, "tie") if math.isclose(mean, 0.5) else (float(mean > 0.5), "")

    def _count(self, opinions: Sequence[float], failed: Sequence[str]) -> None:
        self.judged += 1
        self.failed.update(failed)
        for a, b in combinations(opinions, 2):
            self.pairs += 1
            self.agreed += 1 - abs(a - b)


def _require_different_families(config: PanelConfig, context: RunContext) -> None:
    if (components := context.components) is None:
        return  # and no member can be made
    families = [
        {seat.family} if seat.family else components.judge_families(seat.name, seat.config) for seat in config.members
    ]
    shared = [(a & b) for a, b in combinations(families, 2) if a & b]
    if shared:
        raise ConfigError(
            f"two members are of family {min(shared[0])!r}, and would share its errors",
            where="judge panel",
            remedy="Name others, say each member's family, or set same_family = true.",
        )
