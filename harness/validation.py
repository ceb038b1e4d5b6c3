"""What makes no sense as a loop, and is said before anything is sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.calibration import require_calibrated
from harness.config import LoopConfig, Stage
from harness.errors import ConfigError
from harness.evaluation import eval_sampling
from harness.independence import independent_uses, uses_for, waits
from harness.judging import seat_judges
from harness.looks import kept_back, measured
from harness.plugins import Registry
from harness.power import unshowable
from harness.protocols import JudgeUse, RunContext, Suite
from harness.seats import seats
from harness.specs import GeneratorSpec, ObjectiveSpec, UpdaterSpec


def check_loop(config: LoopConfig, suites: Sequence[Suite], registry: Registry, context: RunContext) -> None:
    """Raises HarnessError for everything that can be refused before hours are spent."""
    target = suites[0]
    names = [suite.name for suite in suites]
    if len(set(names)) != len(names):
        raise ConfigError(f"a suite is named twice: {', '.join(names)}", where="beside", remedy="Name each once.")
    if not target.train and any(stage.data is None for stage in config.stages):
        raise ConfigError(
            "it has no training prompts",
            where=f"suite {target.name}",
            remedy="Use `harness eval` on it, or give every stage its `data`.",
        )
    _require_token_ids(config, registry)
    for number, use in enumerate(config.data.filters):
        registry.create("filter", use.name, use.config, context, where=f"data.filters.{number}.config")
    for suite in suites:
        eval_sampling(suite, config.eval)
        seat_judges(suite, "eval", registry, context).close()
    if uses_for(target, "gold"):
        seat_judges(target, "gold", registry, context).close()
    beside = {suite.name: suite for suite in suites[1:]}
    for number, stage in enumerate(config.stages):
        require_fitting_objective(stage.updater, stage.config, registry, where=f"stages.{number}.config.objective")
        _require_policy(stage.updater, registry, where=f"stages.{number}.updater")
        if stage.data is not None:
            _require_rows_alone(config, stage, where=f"stages.{number}")
            continue
        if stage.generator == "reference":
            shown = [target, *(suite for suite in suites if suite.name in stage.replay)]
            _require_references(stage, shown, where=f"stages.{number}")
        seat_judges(target, "train", registry, context, weights=stage.reward_weights).close()
        for name in stage.replay:
            if name not in beside or not beside[name].train:
                known = [suite.name for suite in suites[1:] if suite.train]
                raise ConfigError(
                    f"{name!r} is not a suite beside the target with training prompts",
                    where=f"stages.{number}.replay",
                    remedy=f"Known here: {', '.join(known) or 'none'}; see `beside`.",
                )
            seat_judges(beside[name], "train", registry, context).close()
    _require_answers_now(suites, registry)
    _require_independent_judges(suites, config, registry)
    require_calibrated(suites, config, registry)
    _require_pairs(suites)
    _require_enough_items(suites, config)


def _require_token_ids(config: LoopConfig, registry: Registry) -> None:
    """Training is by token, and a server that holds the policy tells none."""
    for name in {config.generator.name, *(s.generator for s in config.stages if s.generator != "policy")}:
        spec = registry.get("generator", name).spec
        if isinstance(spec, GeneratorSpec) and spec.served is not None:
            raise ConfigError(
                f"generator {name} gives no token ids, and training is by token",
                where="[generator]",
                remedy="Sample with vllm or transformers; what a server holds is evaluated by `harness eval`.",
            )


def _require_pairs(suites: Sequence[Suite]) -> None:
    """Of a pair of suites each is what the other is gamed with, so both are evaluated or neither."""
    names = {suite.name for suite in suites}
    for suite in suites:
        if suite.pair is not None and suite.pair not in names:
            raise ConfigError(
                f"it means nothing without {suite.pair}: what passes one by always doing the same fails the other",
                where=f"suite {suite.name}",
                remedy=f"Add {suite.pair!r} to `beside`.",
            )


def _require_enough_items(suites: Sequence[Suite], config: LoopConfig) -> None:
    """A margin that no candidate could show, not even one that changes nothing, would make every round inconclusive."""
    target, *beside = (measured(suite, config.eval.limit) for suite in suites)
    holds = [kept_back(target, config.gate)[0]] if any(stage.gate == "hold" for stage in config.stages) else []
    for suite in [*holds, *beside]:
        if said := unshowable(suite, config.gate.level):
            raise ConfigError(
                said,
                where=f"suite {suite.name}",
                remedy='Add items, set a margin that they support, or give it the role "monitor"; see `harness power`.',
            )


def _require_rows_alone(config: LoopConfig, stage: Stage, *, where: str) -> None:
    """A stage with `data` has one round, and no settings of sampling or judging, which it would not read."""
    if stage.unread:
        raise ConfigError(
            f"{', '.join(stage.unread)} and data are given, and with data nothing is sampled or judged",
            where=where,
            remedy="Leave out one or the other.",
        )
    if stage.rounds > 1:
        raise ConfigError(
            f"rounds = {stage.rounds} would train on the same rows again",
            where=where,
            remedy="Leave out rounds; config.epochs sets the passes over them.",
        )
    if Path(str(stage.data)).suffix == ".parquet" and "model" not in config.model_fields_set:
        raise ConfigError(
            "its tokens are those of one model", where=f"{where}.data", remedy="Name it with model, or with --model."
        )


def _require_references(stage: Stage, suites: Sequence[Suite], *, where: str) -> None:
    if stage.n != 1:
        raise ConfigError(f"n = {stage.n}: a prompt has one reference", where=where, remedy="Set n = 1.")
    for suite in suites:
        if lacking := next((prompt.id for prompt in suite.train if prompt.reference is None), None):
            raise ConfigError(
                f"training prompt {lacking!r} of suite {suite.name} has no reference to demonstrate",
                where=where,
                remedy="Give it one, or start with another generator.",
            )


def require_fitting_objective(name: str, config: Mapping[str, Any], registry: Registry, *, where: str) -> None:
    """Raises ConfigError when the objective that an updater is given is not of the family that it feeds."""
    updater = registry.get("updater", name).spec
    if not isinstance(updater, UpdaterSpec) or updater.family is None:
        return
    objective = registry.get("objective", config["objective"]).spec
    if isinstance(objective, ObjectiveSpec) and objective.family != updater.family:
        specs = (entry.spec for entry in registry.entries("objective"))
        fitting = [spec.name for spec in specs if isinstance(spec, ObjectiveSpec) and spec.family == updater.family]
        raise ConfigError(
            f"{objective.name!r} is of family {objective.family}, and updater {updater.name!r} uses {updater.family}",
            where=where,
            remedy=f"Choose {', '.join(fitting)}.",
        )


def _require_policy(name: str, registry: Registry, *, where: str) -> None:
    updater = registry.get("updater", name).spec
    if isinstance(updater, UpdaterSpec) and updater.makes != "policy":
        raise ConfigError(
            f"updater {name} makes a {updater.makes.replace('_', ' ')}, which cannot be a round's candidate",
            where=where,
            remedy=f"Train it with `harness train {name}` and name it in a judge.",
        )


def _require_independent_judges(suites: Sequence[Suite], config: LoopConfig, registry: Registry) -> None:
    """What is trained against may not be the only evidence. Beside it there must be a judge whose verdicts cannot be
    swayed, or one of another family: in the gate's evidence on each suite or, for the target, as gold where gold can
    end the loop.

    Trained against are the target's judges, those of suites that are replayed, and those of updaters that sample by
    themselves.
    """
    target = suites[0]
    replayed = {name for stage in config.stages for name in stage.replay}
    seated = [s for stage in config.stages for s in seats(registry.config("updater", stage.updater, stage.config))]
    trained = [JudgeUse(seat.name, seat.config, use="train") for seat in seated]
    trained += [u for s in suites if s is target or s.name in replayed for u in uses_for(s, "train")]
    gold = uses_for(target, "gold")
    swayed = [use.name for use in gold if use not in independent_uses(gold, trained, registry)]
    if swayed:
        raise ConfigError(
            f"{', '.join(swayed)} would be gold, and judges of its family are trained against",
            where=f"suite {target.name}",
            remedy="Give the use to a deterministic judge, or to one of another family.",
        )
    watched = config.monitors.enabled and config.monitors.stop_on_over_optimization
    for suite in (suite for suite in suites if suite.role != "monitor"):
        evidence = [use for use in uses_for(suite, "eval") if use.weight != 0]
        witnesses = [*evidence, *gold] if watched and suite is target else evidence
        if not evidence or not independent_uses(witnesses, trained, registry):
            raise ConfigError(
                f"the gate's evidence would come from {', '.join(use.name for use in evidence) or 'no judge'}, "
                "which is trained against",
                where=f"suite {suite.name}",
                remedy='Add a deterministic judge, or one of another family, with use = "eval" or "gold".',
            )


def _require_answers_now(suites: Sequence[Suite], registry: Registry) -> None:
    """Only training samples are kept before they are judged, so only they can wait for their verdicts."""
    for suite in suites:
        for use in suite.judges:
            if use.use != "train" and waits(use, registry):
                raise ConfigError(
                    f"judge {use.name} would have to evaluate, and what is evaluated cannot wait for verdicts",
                    where=f"suite {suite.name}",
                    remedy='Give it use = "train".',
                )
