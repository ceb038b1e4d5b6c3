"""What can be wrong with a suite, found without a model: its parts, its split, its answers, and what earns for nothing.

    schema       a version, a licence, a summary, ids; the same items when it is loaded again; sizes
    judges       they exist, their settings are valid, and every item is scored
    duplicates   items that ask the same
    overlap      items that are trained on, by this suite or by those that it is held against
    oracle       the judges of the evaluation give every reference 1
    degenerate   policies that ignore their input stay below `Suite.degenerate_bound`, here or in the paired suite

Of judges whose verdicts may change (models, functions), nothing is asked; what they would decide is left out, and a
finding says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.api import find_suite
from harness.errors import ConfigError, HarnessError
from harness.independence import is_deterministic, uses_for
from harness.judging import Bench, seat_judges
from harness.overlap import NEAR, Overlap, overlaps
from harness.plugins import Registry, load_registry
from harness.protocols import Progress, RunContext, SilentProgress, Suite
from harness.rewards import JudgingConfig
from harness.suite_probes import Policy, degenerate_policies, judged, mean_score, said

Verdict = Literal["ok", "info", "warning", "error"]
EXAMPLES = 3
"""Of one kind of problem that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says of a suite. `scores`: the mean score of each degenerate policy."""

    suite: str
    check: str
    verdict: Verdict
    detail: str
    scores: Mapping[str, float] = field(default_factory=dict)


def validate_suite(
    suite: Suite | str | Path,
    *,
    against: Sequence[Suite | str | Path] = (),
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> list[Finding]:
    """Check one suite: a loaded one, a plugin's by name, or a folder. A suite that cannot be loaded is a finding.

    `against` are suites on whose training prompts its items must not be; raises HarnessError if one cannot be loaded.
    """
    return validate_suites([suite], against=against, registry=registry, progress=progress)


def validate_suites(
    suites: Sequence[Suite | str | Path],
    *,
    against: Sequence[Suite | str | Path] = (),
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> list[Finding]:
    """`validate_suite` of each; what one holds out, none of the others may train on either."""
    registry = registry or load_registry()
    context = RunContext(progress=progress or SilentProgress(), components=registry)
    findings: list[Finding] = []
    loaded: list[Suite] = []
    for suite in suites:
        try:
            loaded.append(_loaded(suite, registry, context))
        except HarnessError as error:
            findings.append(Finding(str(suite), "schema", "error", str(error)))
    beside = [*loaded, *(_loaded(other, registry, context) for other in against)]
    for suite in context.progress.track(loaded, description="validate"):
        findings += _findings(_Case(suite, [other for other in beside if other != suite], registry, context))
    return findings


def _loaded(suite: Suite | str | Path, registry: Registry, context: RunContext) -> Suite:
    if isinstance(suite, Suite):
        return suite
    once, again = (find_suite(str(suite), registry, context) for _ in range(2))
    for one, other in ((once.items, again.items), (once.train, again.train)):
        if [(p.id, p.hash, p.cluster) for p in one] != [(p.id, p.hash, p.cluster) for p in other]:
            raise ConfigError(
                "its prompts are others each time it is loaded",
                where=f"suite {once.name}",
                remedy="Make its builder draw with a fixed seed and in a fixed order.",
            )
    return once


@dataclass
class _Case:
    """A suite, those that it is held against, and the findings on it as they come in."""

    suite: Suite
    others: Sequence[Suite]
    registry: Registry
    context: RunContext
    findings: list[Finding] = field(default_factory=list)

    def say(self, check: str, verdict: Verdict, detail: str, scores: Mapping[str, float] | None = None) -> None:
        self.findings.append(Finding(self.suite.name, check, verdict, detail, scores or {}))

    def problems(
        self,
        check: str,
        verdict: Verdict,
        what: str,
        examples: Sequence[str],
        scores: Mapping[str, float] | None = None,
    ) -> bool:
        """One finding for all of them, with the first few. Returns whether there were any."""
        if examples:
            more = f", and {len(examples) - EXAMPLES} more" if len(examples) > EXAMPLES else ""
            self.say(check, verdict, f"{what} ({len(examples)}): {'; '.join(examples[:EXAMPLES])}{more}", scores)
        return bool(examples)


def _findings(case: _Case) -> list[Finding]:
    _check_schema(case)
    _check_duplicates(case)
    _check_overlap(case)
    bench = _bench(case)
    if bench is None:
        why = "nothing is answered" if case.suite.kind == "likelihood" else "its judges are not asked"
        case.say("oracle", "info", f"left out: {why}")
        case.say("degenerate", "info", f"left out: {why}")
    else:
        _check_oracle(case, bench)
        _check_degenerate(case, bench)
        bench.close()
    return case.findings


# ---------------------------------------------------------------- what it is made of


def _check_schema(case: _Case) -> None:
    suite = case.suite
    parts = {"version": suite.version, "license": suite.license, "summary": suite.summary, "items": suite.items}
    missing = [name for name, value in parts.items() if not (value.strip() if isinstance(value, str) else value)]
    wrong = case.problems("schema", "error", "of its parts are missing", missing)
    ids = Counter(prompt.id for prompt in (*suite.items, *suite.train))
    wrong |= case.problems("schema", "error", "ids are used twice", [name for name, n in ids.items() if n > 1])
    alone = [item.id for item in suite.items if not item.cluster]
    case.problems("schema", "warning", "items name no cluster and count as independent of all others", alone)
    if not wrong:
        clusters = len({item.cluster or item.id for item in suite.items})
        sizes = f"{len(suite.items)} items in {clusters} clusters, {len(suite.train)} training prompts"
        case.say("schema", "ok", f"version {suite.version}, {suite.role}, {sizes}, {suite.license}")


def _check_duplicates(case: _Case) -> None:
    suite = case.suite
    found = list(overlaps(suite.items))
    wrong = case.problems("duplicates", "error", "pairs of items ask the same", _pairs(o for o in found if o.exact))
    near = [o for o in found if not o.exact]
    apart = [o for o in near if o.one.cluster != o.other.cluster]
    what = f"pairs of items of different clusters are near copies (5-gram Jaccard index of {NEAR:g} or more)"
    wrong |= case.problems("duplicates", "warning", what, _pairs(apart))
    if not wrong:
        within = f"; near copies within clusters: {len(near)}" if near else ""
        case.say("duplicates", "ok", f"no two items ask the same{within}")


def _check_overlap(case: _Case) -> None:
    suite = case.suite
    wrong = False
    trained = [other for other in (suite, *case.others) if other.train]
    for other in trained:
        found = list(overlaps(suite.items, other.train))
        exact, near = (_pairs(o for o in found if o.exact == same) for same in (True, False))
        wrong |= case.problems("overlap", "error", f"items are trained on in {other.name}", exact)
        what = f"items are near copies of training prompts of {other.name} (5-gram Jaccard index of {NEAR:g} or more)"
        wrong |= case.problems("overlap", "warning", what, near)
    shared = sorted({item.cluster for item in suite.items if item.cluster} & {p.cluster for p in suite.train})
    wrong |= case.problems("overlap", "warning", "clusters are both held out and trained on", shared)
    if not wrong:
        names = ", ".join(other.name for other in trained) or "it: there are no training prompts"
        case.say("overlap", "ok", f"no item is trained on in {names}")


def _pairs(found: Iterable[Overlap]) -> list[str]:
    return [f"{o.one.id} and {o.other.id}" + ("" if o.exact else f" ({o.similarity:.2f})") for o in found]


# ---------------------------------------------------------------- what its judges say


def _bench(case: _Case) -> Bench | None:
    """The judges of the evaluation, None where they cannot be made, or are not to be asked here."""
    suite, registry = case.suite, case.registry
    for use in suite.judges:
        try:
            registry.config("judge", use.name, use.config, where=f"judge {use.name}")
        except HarnessError as error:
            case.say("judges", "error", str(error))
            return None
    uses = uses_for(suite, "eval")
    if suite.kind == "likelihood":
        case.say("judges", "info", f"not asked, since they read likelihoods: {', '.join(use.name for use in uses)}")
        return None
    if changing := [use.name for use in uses if not is_deterministic(use, registry)]:
        case.say("judges", "info", f"not asked, since what they say may change: {', '.join(changing)}")
        return None
    try:
        # What fails is a finding, whatever its share.
        return seat_judges(suite, "eval", registry, case.context, limits=JudgingConfig(max_failed=1.0, min_scored=0.0))
    except HarnessError as error:
        case.say("judges", "error", str(error))
        return None


def _check_oracle(case: _Case, bench: Bench) -> None:
    """References, and where there is none an empty answer: it shows whether the item is scored at all."""
    suite = case.suite
    verdicts = judged(bench, suite.items, [item.reference or "" for item in suite.items])
    unscored, wrong, right = [], [], 0
    for item, verdict in zip(suite.items, verdicts, strict=True):
        if isinstance(verdict, HarnessError):
            unscored.append(str(verdict))
        elif (value := verdict.rewards[0]) is None:
            unscored.append(f"{item.id} ({said(verdict)})")
        elif item.reference is not None and value == 1.0:
            right += 1
        elif item.reference is not None:
            wrong.append(f"{item.id} {value:.2f} ({said(verdict)})")
    names = ", ".join(bench.judges)
    if not case.problems("judges", "error", "items are not scored", unscored):
        case.say("judges", "ok", f"{names}: every item is scored")
    case.problems("oracle", "error", "references are not given 1", wrong)
    without = sum(item.reference is None for item in suite.items)
    if without:
        case.say("oracle", "info", f"{without} of {len(suite.items)} items have no reference")
    if right and not wrong:
        case.say("oracle", "ok", f"references, each of them given 1: {right}")


def _check_degenerate(case: _Case, bench: Bench) -> None:
    suite = case.suite
    policies = degenerate_policies(suite)
    scores = _scores(policies, suite, bench)
    if not scores:  # nothing is scored, and that has been said
        return
    high = [policy for policy in policies if scores.get(policy.name, 0.0) >= suite.degenerate_bound]
    bound = f"the bound of {suite.degenerate_bound:.0%}"
    caught = _caught_in_pair(case, high)
    if caught is None:
        reach = "; ".join(f"{policy.name} {scores[policy.name]:.1%}" for policy in high)
        what = f"left open: its pair {suite.pair} cannot be judged here"
        case.say("degenerate", "info", f"{what}, and policies reach {bound}: {reach}", scores)
        return
    wrong = [f"{policy.name} {scores[policy.name]:.1%}" for policy in high if policy.name not in caught]
    beside = "" if suite.pair is None else f" here, and that of {suite.pair} there"
    if case.problems("degenerate", "error", f"policies that ignore their input reach {bound}{beside}", wrong, scores):
        return
    below = [name for name in scores if name not in caught]
    best = max(below, key=lambda name: scores[name], default=None)
    told = [f"{name} has {scores[name]:.1%} here and {value:.1%} in {suite.pair}" for name, value in caught.items()]
    if best is not None:
        told.insert(0, f"below {bound}, the best is {best} with {scores[best]:.1%}")
    case.say("degenerate", "ok", "; ".join(told), scores)


def _scores(policies: Sequence[Policy], suite: Suite, bench: Bench) -> dict[str, float]:
    """Mean score of each policy that is scored at all."""
    means = {policy.name: mean_score(bench, suite.items, policy) for policy in policies}
    return {name: mean for name, mean in means.items() if mean is not None}


def _caught_in_pair(case: _Case, policies: Sequence[Policy]) -> dict[str, float] | None:
    """Scores of the policies that stay below the bound of the paired suite, none where there is no such suite; None
    where they would have to be judged there and cannot be."""
    if case.suite.pair is None:
        return {}
    try:
        given = [other for other in case.others if other.name == case.suite.pair]
        pair = given[0] if given else find_suite(case.suite.pair, case.registry, case.context)
    except HarnessError as error:
        case.say("schema", "error", f"its pair: {error}")
        return {}
    if not policies:
        return {}
    bench = _bench(_Case(pair, (), case.registry, case.context))
    if bench is None:
        return None
    scores = _scores(policies, pair, bench)
    bench.close()
    return {name: score for name, score in scores.items() if score < pair.degenerate_bound}
