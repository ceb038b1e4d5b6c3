"""Several candidates against what stood when a run's round was sampled, by the run's own suites and gate.

Nothing is promoted by it: the run's journal is left as it is. Evaluations are kept in the run's folder under
`compare/VERSION/`, as the loop keeps its own, so that one that was made is not made again.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from harness import assets
from harness.api import find_suite, start_generator
from harness.checkpoints import open_checkpoint
from harness.config import LoopConfig
from harness.durable import written_aside
from harness.errors import ConfigError, HarnessError, StoreError
from harness.evaluation import evaluate_suites, merged, suite_fingerprint
from harness.gate import GateConfig, gate
from harness.identity import suite_identity
from harness.looks import at_look, kept_back, measured
from harness.loop import as_target
from harness.measuring import read_eval, round_looks, round_report, write_eval
from harness.plugins import Registry, load_registry, validate
from harness.protocols import ModelRef, Progress, RunContext, SilentProgress, Suite
from harness.sampler import Sampler
from harness.store import RunStore
from harness.suites import with_judge_settings
from harness.train import read_training
from harness.training_data import judged_rounds
from harness.types import BASE_POLICY, AdapterCheckpoint, EvalReport, GateDecision, ScoredGroup


@dataclass(frozen=True)
class Candidate:
    """One adapter, how it was evaluated, and what the gate says. `updater` and `objective` are "" where not known."""

    name: str
    path: Path
    version: str
    updater: str
    objective: str
    report: EvalReport
    decision: GateDecision

    @property
    def gain(self) -> float:
        """The estimated gain on the target."""
        checks = (check for check in self.decision.checks if check.name.startswith("target"))
        target = next(check for check in checks if check.name.endswith("vs incumbent"))
        return target.estimate or 0.0


@dataclass(frozen=True)
class Comparison:
    """Candidates in the order given, and what they were held against."""

    run: Path
    round: int
    model: str
    suites: tuple[str, ...]
    """As the run's config names them: names or folders."""
    gate: GateConfig
    incumbent_round: int
    incumbent: EvalReport
    candidates: tuple[Candidate, ...]

    @property
    def versions(self) -> int:
        """How many different adapters were compared."""
        return len({candidate.version for candidate in self.candidates})

    @property
    def best(self) -> Candidate | None:
        """Of those that the gate would promote, the one with the largest estimated gain on the target."""
        promoted = [candidate for candidate in self.candidates if candidate.decision.promoted]
        return max(promoted, key=lambda candidate: candidate.gain, default=None)


def compare(
    run: Path,
    adapters: Sequence[Path],
    *,
    round: int | None = None,
    alpha: float | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Hold `adapters` (folders) against the incumbent that `round` of the run in folder `run` was sampled from, and
    against the run's starting point. `round` is by default the last that has judged samples.

    Items, decoding, seed, margins and the round's rule (`gain` or `hold`) are the run's; `alpha` replaces the level of
    its gate. Every candidate is tested at that level: it is not corrected for their number. Raises HarnessError, before
    anything is sampled, for an adapter that is damaged or of another model, and for a model, generator or suite that is
    no longer the run's.
    """
    registry = registry or load_registry()
    if not adapters:
        raise ConfigError("there is nothing to compare", where=str(run), remedy="Name at least one adapter folder.")
    store = RunStore.open(run)
    [index] = judged_rounds(store, [] if round is None else [round])
    config = validate(LoopConfig, store.identity["config"], where=str(run))
    stricter = {} if alpha is None else {"alpha": alpha}
    # All items are looked at, once.
    level = validate(GateConfig, {**config.gate.model_dump(), **stricter, "looks": 1}, where="--alpha")
    context = RunContext(
        seed=config.seed, adapter=config.adapter, progress=progress or SilentProgress(), components=registry
    )
    model = run_model(store, None, context.progress)
    paths = list(dict.fromkeys(map(Path, adapters)))
    checkpoints = [open_checkpoint(path, base=model.fingerprint) for path in paths]
    rounds = _versions_of_rounds(store)
    origins = [_trained_with(checkpoint, config, rounds) for checkpoint in checkpoints]
    _require_generator(store, config, registry)
    suites = run_suites(config, registry, context)
    _require_same_suites(store, config, suites, registry)
    standing = store.incumbent_round(upto=index - 1)
    held = [*([store.load(standing, "update", open_checkpoint)] if standing else []), None]

    bench = Evaluations(store, config, _as_rounds_saw_them(suites, config), registry, replace(context, model=model))
    reports = bench.reports([*held, *checkpoints], known=rounds)
    anchor = reports[BASE_POLICY]
    incumbent = reports[held[0].version] if held[0] else anchor
    rule = config.stage_of(index).gate
    decisions = [gate(incumbent, reports[c.version], anchor, level, rule=rule) for c in checkpoints]
    if invalid := next((d for d in decisions if d.outcome == "invalid"), None):
        raise HarnessError(invalid.sentence, where=str(run), remedy="Compare within a run whose evaluations are whole.")
    candidates = tuple(
        Candidate(name, c.path, c.version, *origin, reports[c.version], decision)
        for name, c, origin, decision in zip(_names(store, paths), checkpoints, origins, decisions, strict=True)
    )
    named = (config.suite, *config.beside)
    return Comparison(run, index, model.name, named, level, standing, incumbent, candidates)


@dataclass(frozen=True)
class Evaluations:
    """Reports by adapter version: those of the run's own rounds, those kept from before, and new ones."""

    store: RunStore
    config: LoopConfig
    suites: Sequence[Suite]
    registry: Registry
    context: RunContext

    def reports(
        self, checkpoints: Sequence[AdapterCheckpoint | None], known: Mapping[str, int]
    ) -> dict[str, EvalReport]:
        """A report of every version (None: the base) over all items that rounds see, with one start of the engine, or
        none where nothing is new."""
        found: dict[str, EvalReport] = {}
        sampler = Sampler(lambda: start_generator(self.config.generator, self.registry, self.context))
        with self.store.lock(), closing(sampler):
            for checkpoint in checkpoints:
                version = checkpoint.version if checkpoint else BASE_POLICY
                if version in found:
                    continue
                if version in known and round_looks(self.store, known[version]) == self.config.gate.looks:
                    found[version] = round_report(self.store, known[version])
                else:
                    found[version] = self._kept(version) or self._evaluate(version, checkpoint, sampler)
        return found

    def _folder(self, version: str) -> Path:
        return self.store.folder / "compare" / version[:12]

    def _kept(self, version: str) -> EvalReport | None:
        path = self._folder(version)
        if not path.exists():
            return None
        try:
            report = read_eval(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "Delete that folder; the adapter is then evaluated again."
            raise StoreError(f"the report is damaged ({error})", where=str(path), remedy=remedy) from None
        wanted = {suite.name: suite_fingerprint(suite, self.registry, self.config.eval) for suite in self.suites}
        same = report.policy_version == version and wanted == {
            suite.suite: suite.fingerprint for suite in report.suites
        }
        return report if same else None

    def _evaluate(self, version: str, checkpoint: AdapterCheckpoint | None, sampler: Sampler) -> EvalReport:
        self.context.progress.note(f"evaluating {checkpoint.path if checkpoint else 'the base model'} ({version[:12]})")
        reports, results = [], defaultdict[str, list[ScoredGroup]](list)
        for look in range(1, self.config.gate.looks + 1):  # in the batches of the loop, whose rounding differs by batch
            report, answers = evaluate_suites(
                self.suites,
                sampler.at(checkpoint),
                policy_version=version,
                registry=self.registry,
                context=self.context,
                config=self.config.eval,
                parts={suite.name: at_look(suite, look, self.config.gate) for suite in self.suites},
            )
            reports.append(report)
            for name, groups in answers.items():
                results[name] += groups
        path = self._folder(version)
        for stale in path.parent.glob(f"{path.name}*"):  # of another measurement, or half of one
            shutil.rmtree(stale)
        with written_aside(path, remedy="Make room.") as draft:
            write_eval(draft, merged(reports), results)
        return read_eval(path)


# ---------------------------------------------------------------- what the run was


def run_model(store: RunStore, name: str | None, progress: Progress) -> ModelRef:
    """The run's model, or the one called `name`. Raises StoreError if it is not the one that the run was made with."""
    model = assets.model(name or store.identity["config"]["model"], progress)
    if model.fingerprint != store.identity["model"]:
        raise StoreError(
            f"model {model.name} is not the one that the run was made with",
            where=str(store.folder),
            remedy="Restore the model.",
        )
    return model


def run_suites(config: LoopConfig, registry: Registry, context: RunContext) -> tuple[Suite, ...]:
    """The suites that a run names, as they are now; the first is its target."""
    target = as_target(find_suite(config.suite, registry, context))
    beside = (find_suite(name, registry, context) for name in config.beside)
    return with_judge_settings((target, *beside), config.judges)


def _require_same_suites(store: RunStore, config: LoopConfig, suites: Sequence[Suite], registry: Registry) -> None:
    """What a candidate is evaluated on must be what the incumbent was; training prompts may have changed since."""
    stored = store.identity["suites"]
    for suite in suites:
        now = json.loads(json.dumps(suite_identity(suite, registry, config.eval)))
        then = stored.get(suite.name, {})
        changed = [key for key in now if key != "train" and now[key] != then.get(key)]
        if changed:
            raise StoreError(
                f"suite {suite.name} is not what the run was evaluated on: {', '.join(changed)} changed",
                where=str(store.folder),
                remedy="Restore it and the versions of its judges, or start a new run.",
            )


def _require_generator(store: RunStore, config: LoopConfig, registry: Registry) -> None:
    name = config.generator.name
    now, then = str(registry.get("generator", name).origin), store.identity["components"][f"generator {name}"]
    if now != then:
        raise StoreError(
            f"generator {name} is of {now}, and the run was sampled with that of {then}",
            where=str(store.folder),
            remedy="Install that version, or start a new run.",
        )


def _as_rounds_saw_them(suites: Sequence[Suite], config: LoopConfig) -> tuple[Suite, ...]:
    target, *beside = (measured(suite, config.eval.limit) for suite in suites)
    return kept_back(target, config.gate)[0], *beside


def _versions_of_rounds(store: RunStore) -> dict[str, int]:
    """The run's policies that are evaluated, by version."""
    rounds = [index for index, step in sorted(store.entries) if step == "evaluate"]
    return {round_report(store, index).policy_version: index for index in rounds}


def _names(store: RunStore, paths: Sequence[Path]) -> list[str]:
    """`round 2` for the run's own, else as many last parts of the path as tell it from the others."""
    own = {folder.resolve(): f"round {int(folder.parent.name)}" for folder in store.folder.glob("rounds/*/adapter")}
    whole = [path.resolve() for path in paths]

    def tail(path: Path) -> str:
        parts = path.parts
        shown = ("/".join(parts[-n:]) for n in range(1, len(parts)))
        return next((t for t in shown if sum(f"/{p.as_posix()}".endswith(f"/{t}") for p in whole) == 1), str(path))

    return [own.get(path) or tail(path) for path in whole]


def _trained_with(checkpoint: AdapterCheckpoint, config: LoopConfig, rounds: Mapping[str, int]) -> tuple[str, str]:
    """Updater and objective, from the run itself or from the adapter's own record."""
    if checkpoint.version in rounds:
        stage = config.stage_of(rounds[checkpoint.version])
        return stage.updater, str(stage.config.get("objective", ""))
    record = read_training(checkpoint)
    return (record["updater"], record["config"].get("objective", "")) if record else ("", "")
