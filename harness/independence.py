"""Which judges may be evidence against which: a judge is no witness to progress that was made by pleasing it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.plugins import Registry
from harness.protocols import JudgeUse, Suite
from harness.seats import seats
from harness.specs import JudgeSpec


def uses_for(suite: Suite, purpose: str) -> list[JudgeUse]:
    """The suite's judges for `train`, `eval` (both include use = "both") or `gold`."""
    return [use for use in suite.judges if use.use == purpose or (use.use == "both" and purpose != "gold")]


def is_deterministic(use: JudgeUse, registry: Registry) -> bool:
    """Whether its verdicts never change: its spec says so, and it is so of every judge that its settings seat."""
    spec = registry.get("judge", use.name).spec
    own = isinstance(spec, JudgeSpec) and spec.deterministic
    return own and all(is_deterministic(member, registry) for member in _members(use, registry))


def independent_uses(uses: Sequence[JudgeUse], trained: Sequence[JudgeUse], registry: Registry) -> list[JudgeUse]:
    """Those of `uses` that training against `trained` cannot sway: deterministic ones, and those that share no family
    with any of these."""
    swayed = set().union(*(registry.judge_families(use.name, use.config) for use in trained))
    return [
        use
        for use in uses
        if is_deterministic(use, registry) or not registry.judge_families(use.name, use.config) & swayed
    ]


def waits(use: JudgeUse, registry: Registry) -> bool:
    """Whether its verdicts come in while the run waits, or those of a judge that its settings seat."""
    spec = registry.get("judge", use.name).spec
    own = isinstance(spec, JudgeSpec) and spec.waits
    return own or any(waits(member, registry) for member in _members(use, registry))


def gold_uses(suite: Suite, registry: Registry) -> list[JudgeUse]:
    """What the training judges are held against: the judges with use = "gold", else the independent ones among those
    that evaluate."""
    evaluating = [use for use in uses_for(suite, "eval") if use.weight != 0]
    return uses_for(suite, "gold") or independent_uses(evaluating, uses_for(suite, "train"), registry)


def is_trained_on_gold_alone(suite: Suite, registry: Registry) -> bool:
    """Whether the judges that are trained against are the very ones that they would be held against, so that there is
    nothing to compare."""
    train, gold = uses_for(suite, "train"), gold_uses(suite, registry)
    return _same(train, registry) == _same(gold, registry)


def _same(uses: Sequence[JudgeUse], registry: Registry) -> set[str]:
    return {f"{use.name} {registry.config('judge', use.name, use.config).model_dump_json()}" for use in uses}


def _members(use: JudgeUse, registry: Registry) -> list[JudgeUse]:
    return [JudgeUse(seat.name, seat.config) for seat in seats(registry.config("judge", use.name, use.config))]
