"""Training alone: any updater on stored groups or on a file, without a loop around it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness import assets
from harness.checkpoints import open_checkpoint
from harness.config import DEFAULTS, LauncherConfig, merge
from harness.data_step import handed_over
from harness.durable import require_new, write_text, written_aside
from harness.errors import ConfigError, StoreError, UpdateError
from harness.identity import named_objectives
from harness.jsonl import as_jsonl
from harness.launching import make_updater
from harness.origins import row_origin, row_places
from harness.plugins import DISTRIBUTION, Registry, load_registry
from harness.protocols import Progress, RunContext, SilentProgress, Updater
from harness.provenance import EXAMPLES, LINEAGE, Example, example_of, run_examples, stored_example
from harness.seats import named_judges
from harness.specs import UpdaterSpec
from harness.store import RunStore
from harness.training_data import file_digest, file_groups, judged_rounds
from harness.types import BASE_POLICY, AdapterCheckpoint, ScoredGroup, Update, digest
from harness.validation import require_fitting_objective

READ = {
    "adapter",
    "components",
    "config",
    "data",
    "data_digest",
    "groups",
    "harness",
    "metrics",
    "model",
    "parent",
    "rounds",
    "seed",
    "updater",
    "version",
}
"""Its fields that are read back."""


@dataclass(frozen=True)
class Trained:
    """An adapter that was trained alone, and the record of what it was made from (also in its `training.json`)."""

    update: Update
    lineage: Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """A training that is settled: everything is read and checked, and nothing is written yet."""

    updater: Updater
    groups: Sequence[ScoredGroup]
    parent: AdapterCheckpoint | None
    out: Path
    scratch: Path
    seed: int
    record: Mapping[str, Any]
    """What is known of it before it is done."""
    examples: Sequence[Example]
    """Where each of the groups is from."""

    def run(self) -> Trained:
        with written_aside(self.out) as draft:
            try:
                update = self.updater.update(self.groups, parent=self.parent, out=draft, seed=self.seed)
            except UpdateError:  # it would fail again from where it was
                remove_checkpoints(self.scratch)
                raise
            lineage = {**self.record, "version": update.checkpoint.version, "metrics": dict(update.metrics)}
            write_text(draft / EXAMPLES, as_jsonl(map(stored_example, self.examples)))
            write_text(draft / LINEAGE, json.dumps(lineage, indent=1) + "\n")
        remove_checkpoints(self.scratch)
        return Trained(replace(update, checkpoint=replace(update.checkpoint, path=self.out)), lineage)


def train_adapter(updater: str, data: Path, *, out: Path, **options: Any) -> Trained:
    """Train an adapter with `updater` on `data` into the new folder `out`; `options` are those of `plan_training`.

    A call that was interrupted goes on, when it is made again, from the last checkpoint in `out` + ".midway".
    """
    return plan_training(updater, data, out=out, **options).run()


def plan_training(
    updater: str,
    data: Path,
    *,
    out: Path,
    rounds: Sequence[int] = (),
    model: str | None = None,
    parent: Path | str | None = None,
    adapter: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    launcher: LauncherConfig | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Training:
    """What training `updater` on `data`, a run's folder or a file, into the new folder `out` comes to.

    From a run come, unless they are given, its model, its adapter settings, its last scored round, and as `parent` the
    adapter that this round's samples were drawn from (reward models start from the base). `parent` is an adapter's
    folder, or "base". Raises HarnessError for anything that is wrong; nothing is written.
    """
    registry = registry or load_registry()
    source = _source(data, rounds)
    require_new(out)
    settings = registry.config("updater", updater, config or {}, where="--set config").model_dump(mode="json")
    require_fitting_objective(updater, settings, registry, where="config.objective")
    origins = {f"objective {name}": str(registry.get("objective", name).origin) for name in named_objectives(settings)}
    judges = named_judges("updater", updater, settings, registry)
    origins |= {f"judge {name}": str(registry.get("judge", name).origin) for name in sorted(judges)}
    origins[f"updater {updater}"] = str(registry.get("updater", updater).origin)
    context = RunContext(seed=seed, progress=progress or SilentProgress(), components=registry)
    if model is None and data.suffix == ".parquet":
        raise ConfigError("its tokens are those of one model", where=str(data), remedy="Name it with --model.")
    reference = assets.model(model or source.settings.get("model") or "smollm2-135m", context.progress)
    if source.store and source.store.identity["model"] != reference.fingerprint:
        raise ConfigError(
            "the run's tokens are those of another model", where=str(data), remedy="Name the run's own with --model."
        )
    spec = registry.get("updater", updater).spec
    from_base = isinstance(spec, UpdaterSpec) and spec.makes != "policy" and parent is None
    start = None if from_base else _parent(parent, source, base=reference.fingerprint)
    if start and adapter:
        raise ConfigError(
            f"the adapter {start.version[:12]} goes on as it is", where="adapter", remedy="Start anew: --parent base."
        )
    fresh = {} if start else _adapter(source.settings.get("adapter") or DEFAULTS["adapter"], adapter or {})
    scratch = out.with_name(f"{out.name}.midway")
    context = replace(context, model=reference, adapter=fresh, scratch=scratch)
    trainer = make_updater(registry, updater, settings, context, launcher, where="--set config")
    groups = source.groups(context)
    _note_other_policies(groups, start, context.progress)

    record = {
        "updater": updater,
        "config": settings,
        "components": origins,
        "adapter": fresh,
        "data": str(data),
        "rounds": source.rounds,
        "data_sha256": None if source.store else file_digest(data),
        "data_digest": digest([asdict(group) for group in groups]),
        "groups": len(groups),
        "model": {"name": reference.name, "fingerprint": reference.fingerprint},
        "parent": start.version if start else BASE_POLICY,
        "seed": seed,
        "harness": importlib.metadata.version(DISTRIBUTION),
    }
    return Training(trainer, groups, start, out, scratch, seed, record, source.examples(groups))


def read_training(checkpoint: AdapterCheckpoint) -> dict[str, Any] | None:
    """What `train_adapter` recorded beside this adapter; None where no such record is.

    Raises StoreError when the record is damaged or is that of another adapter.
    """
    path = checkpoint.path / LINEAGE
    if not path.is_file():
        return None
    remedy = "Restore the folder or train again."
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        if missing := READ - set(record):
            raise ValueError(f"{', '.join(sorted(missing))} missing")
    except (ValueError, TypeError) as error:
        raise StoreError(f"it is damaged ({error})", where=str(path), remedy=remedy) from None
    if record["version"] != checkpoint.version:
        raise StoreError("it is the record of another adapter", where=str(path), remedy=remedy)
    return record


def remove_checkpoints(scratch: Path) -> None:
    """What an update left on its way, and the folder if that was all there was."""
    for checkpoint in scratch.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    if scratch.is_dir() and not any(scratch.iterdir()):
        scratch.rmdir()


@dataclass(frozen=True)
class Source:
    """What `--data` names: rounds of a run, or a file."""

    path: Path
    store: RunStore | None
    rounds: list[int]

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.store.identity["config"] if self.store else {}

    def groups(self, context: RunContext) -> list[ScoredGroup]:
        if self.store is None:
            return file_groups(self.path, context)
        return [group for index in self.rounds for group in handed_over(self.store, index)]

    def examples(self, groups: Sequence[ScoredGroup]) -> list[Example]:
        """Where each of its groups is from."""
        if self.store is not None:
            return run_examples(self.store, self.rounds)
        places = row_places(self.path, len(groups))
        pairs = zip(groups, places, strict=True)
        return [example_of(group, row_origin(group.group.prompt, str(self.path), place)) for group, place in pairs]


def _source(data: Path, rounds: Sequence[int]) -> Source:
    if (data / "run.json").is_file():
        store = RunStore.open(data)
        return Source(data, store, judged_rounds(store, rounds))
    if rounds:
        raise ConfigError("this is no run, so it has no rounds", where=str(data), remedy="Leave --round out.")
    if not data.is_file():
        remedy = "Name a run (see `harness runs`), a .parquet file of groups or a .jsonl file."
        raise ConfigError("there is no such run or file", where=str(data), remedy=remedy)
    return Source(data, None, [])


def _note_other_policies(groups: Sequence[ScoredGroup], start: AdapterCheckpoint | None, progress: Progress) -> None:
    version = start.version if start else BASE_POLICY
    others = {group.group.policy_version for group in groups} - {version, "reference"}
    if others:
        drawn = ", ".join(sorted(other[:12] for other in others))
        progress.note(f"the samples were drawn from {drawn}, and training starts from {version[:12]}")


def _adapter(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of another `peft_type` stand alone: those of the first would be unknown to it."""
    if given.get("peft_type", base.get("peft_type")) != base.get("peft_type"):
        return dict(given)
    return merge(base, given)


def _parent(given: Path | str | None, source: Source, *, base: str) -> AdapterCheckpoint | None:
    if given == BASE_POLICY:
        return None
    if given is not None:
        return open_checkpoint(Path(given), base=base)
    store = source.store
    if store is None:
        return None
    standing = {store.incumbent_round(upto=index - 1) for index in source.rounds}
    if len(standing) > 1:
        raise ConfigError(
            "these rounds were drawn from different policies", where="rounds", remedy="Name one with --parent."
        )
    index = standing.pop()
    return store.load(index, "update", lambda path: open_checkpoint(path, base=base)) if index else None
