"""Evaluating the policy that a generator serves on suites: sample, judge, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from harness.config import EvalConfig
from harness.errors import ConfigError, JudgeFailure
from harness.gate import MIN_SCORED
from harness.independence import uses_for
from harness.judging import Bench, combined_figures, judges_fingerprint, seat_judges, verdict_figures
from harness.likelihood import AS_IS, likelihood_groups
from harness.plugins import Registry
from harness.protocols import Generator, RunContext, Suite, SuiteKind
from harness.rewards import JudgingConfig
from harness.sampler import draw_groups
from harness.types import EvalReport, Group, ItemResult, Prompt, Sampling, Score, ScoredGroup, SuiteReport, digest

SuiteResults = Mapping[str, list[ScoredGroup]]


def evaluate_suites(
    suites: Sequence[Suite],
    generator: Generator,
    *,
    policy_version: str,
    registry: Registry,
    context: RunContext,
    config: EvalConfig,
    parts: Mapping[str, Sequence[Prompt]] | None = None,
) -> tuple[EvalReport, SuiteResults]:
    """Every suite under the policy that `generator` serves now, or of every suite the items that `parts` names.

    The seed depends on nothing but the run's, so two policies draw with common random numbers and their difference
    is less noisy than either score. Each suite is a call of its own: in bf16 an answer depends in the last bit on those
    that an engine computes beside it, and so a suite's report does not depend on which suites stand beside it. (In one
    queue, 10 of 339 greedy answers were others, and no time was gained.)
    """
    reports, results = [], {}
    for suite in suites:
        items = suite.items[: config.limit] if parts is None else parts[suite.name]
        if not items:
            continue
        scored, judging = score_items(suite, items, generator, policy_version, registry, context, config)
        results[suite.name] = scored
        reports.append(suite_report(suite, scored, judging, registry, config))
    return EvalReport(policy_version, tuple(reports)), results


def score_items(
    suite: Suite,
    items: Sequence[Prompt],
    generator: Generator,
    policy_version: str,
    registry: Registry,
    context: RunContext,
    config: EvalConfig,
) -> tuple[list[ScoredGroup], dict[str, float]]:
    """Samples and judges `items` of a suite; those of a likelihood suite are not sampled but taken as they are. Also
    returns how the judges did (`SuiteReport.judging`).

    Raises JudgeFailure when fewer than MIN_SCORED of them are scored.
    """
    bench = evaluating_bench(suite, registry, context)  # before sampling: it may refuse
    return judge_items(suite, sample_items(suite, items, generator, policy_version, context, config), bench)


def evaluating_bench(suite: Suite, registry: Registry, context: RunContext) -> Bench:
    """The suite's judges of evaluations. `judge_items` refuses what is missing, whatever its share of the verdicts."""
    return seat_judges(suite, "eval", registry, context, limits=JudgingConfig(max_failed=1.0, min_scored=0.0))


def sample_items(
    suite: Suite,
    items: Sequence[Prompt],
    generator: Generator,
    policy_version: str,
    context: RunContext,
    config: EvalConfig,
) -> list[Group]:
    """What the policy that `generator` serves answers to `items` of a suite, unjudged; those of a likelihood suite are
    not sampled but taken as they are."""
    sampling = eval_sampling(suite, config)
    if suite.kind == "likelihood":
        where = f"suite {suite.name}"
        return likelihood_groups(generator, items, policy_version=policy_version, context=context, where=where)
    return draw_groups(generator, items, n=config.epochs, sampling=sampling, seed=context.seed)


def judge_items(suite: Suite, groups: Sequence[Group], bench: Bench) -> tuple[list[ScoredGroup], dict[str, float]]:
    """The groups with the bench's verdicts, and how the judges did; the bench is closed. Raises JudgeFailure when fewer
    than MIN_SCORED of them are scored."""
    scored = bench.score(groups)
    _require_scored(suite, scored)
    judging = verdict_figures(scored) | bench.figures()
    bench.close()
    return scored, judging


def suite_report(
    suite: Suite, scored: Sequence[ScoredGroup], judging: Mapping[str, float], registry: Registry, config: EvalConfig
) -> SuiteReport:
    return SuiteReport(
        suite=suite.name,
        role=suite.role,
        fingerprint=suite_fingerprint(suite, registry, config),
        items=tuple(_item(group, suite.kind) for group in scored),
        margin=suite.margin,
        anchor_margin=suite.anchor_margin,
        floor=suite.floor,
        rule=suite.rule,
        pair=suite.pair,
        judging=judging,
    )


def merged(reports: Sequence[EvalReport]) -> EvalReport:
    """Of one policy over parts of the same suites, one report over all of them."""
    first = reports[0]
    suites = []
    for suite in first.suites:
        parts = [part for report in reports if (part := report.suite(suite.suite)) is not None]
        judging = combined_figures([(part.judging, len(part.items)) for part in parts])
        suites.append(replace(suite, items=tuple(item for part in parts for item in part.items), judging=judging))
    return EvalReport(first.policy_version, tuple(suites))


def _require_scored(suite: Suite, groups: Sequence[ScoredGroup]) -> None:
    """An evaluation with holes is not kept: once stored, no comparison with it could be valid."""
    whole = sum(all(reward is not None for reward in group.rewards) for group in groups)
    if whole < MIN_SCORED * len(groups):
        reasons = [score for group in groups for scores in group.scores for score in scores if score.value is None]
        first = f"; the first that is not: judge {reasons[0].judge}, {reasons[0].explanation}" if reasons else ""
        raise JudgeFailure(
            f"only {whole} of {len(groups)} items are scored, and {MIN_SCORED:.0%} are needed{first}",
            where=f"suite {suite.name}",
            remedy="Mend its judges (or its items, if a judge abstains on them) and resume; replies are kept.",
        )


def eval_sampling(suite: Suite, config: EvalConfig) -> Sampling:
    """The suite's sampling with the config's overrides. Raises ConfigError for epochs that would repeat the first:
    greedy ones, or those of a likelihood suite, which reads none of these settings."""
    if suite.kind == "likelihood":
        if config.epochs > 1:
            raise ConfigError(
                f"eval.epochs = {config.epochs} would score the same texts again: nothing is drawn",
                where=f"suite {suite.name}",
                remedy="Set eval.epochs = 1.",
            )
        return AS_IS
    sampling = replace(suite.sampling, constrained=suite.sampling.constrained or config.constrained)
    if config.temperature is not None:
        sampling = replace(sampling, temperature=config.temperature)
    if sampling.temperature == 0 and config.epochs > 1:
        raise ConfigError(
            f"eval.epochs = {config.epochs} at temperature 0 would sample the same answers again",
            where=f"suite {suite.name}",
            remedy="Set eval.temperature above 0, or eval.epochs = 1.",
        )
    return sampling


def suite_fingerprint(suite: Suite, registry: Registry, config: EvalConfig) -> str:
    """Identity of a measurement: items, judges, and decoding. Equal fingerprints make reports comparable."""
    return digest(
        [
            [[item.hash, dict(item.metadata)] for item in suite.items[: config.limit]],
            judges_fingerprint(uses_for(suite, "eval"), registry),
            asdict(eval_sampling(suite, config)),
            config.epochs,
            *([suite.kind] if suite.kind != "generate" else []),
        ]
    )


def _item(scored: ScoredGroup, kind: SuiteKind) -> ItemResult:
    """Mean reward over the item's epochs; None unless every epoch is scored: no item counts for a part of itself. The
    texts of a likelihood item are no epochs: they are judged together, once."""
    prompt = scored.group.prompt
    known = [value for value in scored.rewards if value is not None]
    score = sum(known) / len(known) if known and len(known) == len(scored.rewards) else None
    once = kind == "likelihood"
    return ItemResult(
        id=prompt.id,
        hash=prompt.hash,
        cluster=prompt.cluster or prompt.id,
        score=score,
        labels=tuple(_label(scores) for scores in scored.scores[: 1 if once else None]),
        slice=prompt.metadata.get("category", ""),
        epochs=(score,) if once else scored.rewards,
    )


def _label(scores: Sequence[Score]) -> str:
    return "; ".join(score.label or score.status for score in scores)
