"""Running a suite's judges over groups, and holding them to their contract."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import HarnessError, JudgeFailure, PluginError
from harness.independence import uses_for
from harness.plugins import Registry
from harness.protocols import ComparingJudge, Judge, JudgeUse, ReportingJudge, RunContext, Suite
from harness.rewards import JudgingConfig, dropped_unless_enough, reward
from harness.seats import judge_identity
from harness.types import Group, Preference, Score, ScoredGroup, digest


@dataclass(frozen=True)
class Bench:
    """The judges at work for one purpose, with their weights by name."""

    judges: Mapping[str, Judge]
    weights: Mapping[str, float]
    comparing: Sequence[str] = ()
    """Those whose comparisons are wanted beside their scores: what is evaluated needs none."""
    limits: JudgingConfig = field(default_factory=JudgingConfig)

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Every judge on every completion, and the reward from them. Raises JudgeFailure when too many fail: what is
        left would no longer be a fair sample."""
        columns = {name: checked_scores(name, judge, groups) for name, judge in self.judges.items()}
        for name, column in columns.items():
            _refuse_if_failing(name, [score for scores in column for score in scores], self.limits.max_failed)
        compared = [_compared(name, self.judges[name], groups) for name in self.comparing]
        scored = []
        for index, group in enumerate(groups):
            by_completion = tuple(zip(*(column[index] for column in columns.values()), strict=True))
            rewards = dropped_unless_enough(
                [reward(scores, self.weights) for scores in by_completion], self.limits.min_scored
            )
            preferences = tuple(preference for column in compared for preference in column[index])
            scored.append(ScoredGroup(group, by_completion, rewards, preferences))
        return scored

    def figures(self) -> dict[str, float]:
        """`judge/NAME/...` of the judges that report on themselves."""
        return {f"judge/{name}/{key}": v for name, judge in self.judges.items() for key, v in figures_of(judge).items()}

    def close(self) -> None:
        """Free what the judges hold, such as a model of their own."""
        for judge in self.judges.values():
            close_judge(judge)


def figures_of(judge: Judge) -> dict[str, float]:
    """What a judge says of itself, nothing of one that does not."""
    own = judge.figures() if isinstance(judge, ReportingJudge) else {}
    return {name: float(value) for name, value in own.items()}


def close_judge(judge: Judge) -> None:
    """Free what it holds; most hold nothing."""
    if callable(close := getattr(judge, "close", None)):
        close()


def seat_judges(
    suite: Suite,
    purpose: str,
    registry: Registry,
    context: RunContext,
    *,
    weights: Mapping[str, float] | None = None,
    limits: JudgingConfig | None = None,
) -> Bench:
    """The suite's judges for `purpose` (`train`, `eval` or `gold`); `weights` overrides their weights by name."""
    uses = uses_for(suite, purpose)
    if not uses:
        raise HarnessError(
            f"no judge is there to {purpose} with", where=f"suite {suite.name}", remedy=f'Give one use = "{purpose}".'
        )
    names = [use.name for use in uses]
    if len(set(names)) != len(names):
        raise HarnessError(
            f"a judge is named twice for {purpose}: {', '.join(names)}",
            where=f"suite {suite.name}",
            remedy="Name each judge once for each use.",
        )
    chosen = {use.name: use.weight for use in uses}
    for name, weight in (weights or {}).items():
        if name not in chosen:
            raise HarnessError(
                f"weight for {name!r}, which does not judge suite {suite.name}",
                where="reward_weights",
                remedy=f"Its judges: {', '.join(chosen)}.",
            )
        chosen[name] = weight
    judges = {
        use.name: registry.create("judge", use.name, use.config, context, where=f"suite {suite.name}, judge {use.name}")
        for use in uses
    }
    comparing = [name for name in judges if purpose == "train" and chosen[name] > 0]
    return Bench(judges, chosen, comparing, limits or JudgingConfig())


def verdict_figures(groups: Sequence[ScoredGroup]) -> dict[str, float]:
    """Of each judge `judge/NAME/mean` of its values, `failed` and `abstained` (shares), `cost` and `tokens` (sums)."""
    by_judge: dict[str, list[Score]] = {}
    for score in (score for group in groups for scores in group.scores for score in scores):
        by_judge.setdefault(score.judge, []).append(score)
    figures: dict[str, float] = {}
    for name, scores in by_judge.items():
        values = [score.value for score in scores if score.value is not None]
        found = {"mean": sum(values) / len(values)} if values else {}
        for status in ("failed", "abstained"):
            found[status] = sum(score.status == status for score in scores) / len(scores)
        for paid in ("cost", "tokens"):
            if any(getattr(score, paid) for score in scores):
                found[paid] = float(sum(getattr(score, paid) for score in scores))
        figures |= {f"judge/{name}/{key}": value for key, value in found.items()}
    return figures


COUNTS = frozenset(
    (
        *("cost", "tokens", "questions", "unanswered", "replies", "cached", "unreadable", "errors", "retries"),
        *("paid_prompt_tokens", "paid_completion_tokens", "paid"),
    )
)
"""Figures that are added up over parts of an evaluation. All others are shares or means."""


def combined_figures(parts: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """The figures of parts, each with its number of items, as of the whole: shares and means by item. A mean over parts
    that do not all have it is one over those that do."""
    found: dict[str, float] = {}
    for name in {name: None for figures, _ in parts for name in figures}:
        known = [(figures[name], size) for figures, size in parts if name in figures]
        if name.rpartition("/")[2] in COUNTS:
            found[name] = sum(value for value, _ in known)
        elif name.endswith("/perplexity"):  # a geometric mean
            found[name] = math.exp(sum(math.log(value) * size for value, size in known) / sum(n for _, n in known))
        else:
            found[name] = sum(value * size for value, size in known) / sum(size for _, size in known)
    return found


def judges_fingerprint(uses: Sequence[JudgeUse], registry: Registry) -> str:
    """Identity of a set of judges, by all that their verdicts and the reward depend on (see `judge_identity`)."""
    return digest([judge_identity(use.name, use.config, registry, weight=use.weight) for use in uses])


def _compared(name: str, judge: Judge, groups: Sequence[Group]) -> list[tuple[Preference, ...]]:
    """What the judge prefers in each group; nothing from one that does not compare."""
    if not isinstance(judge, ComparingJudge):
        return [()] * len(groups)
    try:
        found = [tuple(preferences) for preferences in judge.compare(groups)]
    except HarnessError:
        raise
    except Exception as error:
        raise PluginError(f"compare() raised {type(error).__name__}: {error}", where=f"judge {name}") from error
    sizes = [len(group.completions) for group in groups]
    good = len(found) == len(groups) and all(
        isinstance(p, Preference) and p.judge == name and min(p.better, p.worse) >= 0 and max(p.better, p.worse) < size
        for preferences, size in zip(found, sizes, strict=True)
        for p in preferences
    )
    if not good:
        raise PluginError("compare() does not give Preferences of its own for each group", where=f"judge {name}")
    return found


def checked_scores(name: str, judge: Judge, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
    """What the judge gives each completion. Raises PluginError when it does not keep to its contract."""
    where = f"judge {name}"
    try:
        verdicts = [tuple(scores) for scores in judge.score(groups)]
    except HarnessError:
        raise
    except Exception as error:
        raise PluginError(f"raised {type(error).__name__}: {error}", where=where) from error
    if len(verdicts) != len(groups):
        raise PluginError(f"{len(verdicts)} verdict lists for {len(groups)} groups", where=where)
    for group, scores in zip(groups, verdicts, strict=True):
        if len(scores) != len(group.completions):
            raise PluginError(
                f"{len(scores)} scores for the {len(group.completions)} completions of prompt {group.prompt.id}",
                where=where,
            )
        if not all(isinstance(score, Score) and score.judge == name for score in scores):
            raise PluginError(f"something other than its own Score for prompt {group.prompt.id}", where=where)
    return verdicts


def _refuse_if_failing(name: str, scores: Sequence[Score], limit: float) -> None:
    failed = [score for score in scores if score.status == "failed"]
    if scores and len(failed) > limit * len(scores):
        raise JudgeFailure(
            f"{len(failed)} of {len(scores)} verdicts failed, the first with: {failed[0].explanation}",
            where=f"judge {name}",
            remedy="Mend the judge and resume: samples and replies are kept. [judging] max_failed allows more.",
        )
