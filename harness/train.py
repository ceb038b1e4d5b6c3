"""Training alone: any updater on stored groups or on a file, without a loop around it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import assets
from harness.api import require_fitting_objective
from harness.checkpoints import open_checkpoint
from harness.config import DEFAULTS, merge
from harness.durable import make_folder, write_text
from harness.errors import ConfigError
from harness.plugins import DISTRIBUTION, Registry, load_registry
from harness.protocols import Progress, RunContext, SilentProgress
from harness.store import RunStore
from harness.training_data import file_groups, run_groups
from harness.types import BASE_POLICY, AdapterCheckpoint, Update

LINEAGE = "training.json"


@dataclass(frozen=True)
class Trained:
    """An adapter that was trained alone, and the record of what it was made from (also in its `training.json`)."""

    update: Update
    lineage: Mapping[str, Any]


def train_adapter(
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
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train an adapter with `updater` on `data`, a run's folder or a file, into the new folder `out`.

    From a run come, unless they are given, its model, its adapter settings, its last scored round, and as `parent` the
    adapter that this round's samples were drawn from. `parent` is an adapter's folder, or "base". Raises HarnessError
    for anything that is wrong, before anything is written.
    """
    registry = registry or load_registry()
    if out.exists():
        raise ConfigError("it is there already", where=str(out), remedy="Name another folder with --out.")
    settings = registry.config("updater", updater, config or {}, where="--set config").model_dump(mode="json")
    require_fitting_objective(updater, settings, registry, where="config.objective")
    store = RunStore.open(data) if (data / "run.json").is_file() else None
    stored = store.identity["config"] if store else {}
    if rounds and not store:
        raise ConfigError("a file has no rounds", where=str(data), remedy="Leave --round out.")
    context = RunContext(
        seed=seed,
        adapter=_adapter(stored.get("adapter") or DEFAULTS["adapter"], adapter or {}),
        progress=progress or SilentProgress(),
        components=registry,
    )
    reference = assets.model(model or stored.get("model") or "smollm2-135m", context.progress)
    context = replace(context, model=reference)
    made_by = registry.create("updater", updater, settings, context, where="--set config")
    groups = run_groups(store, rounds) if store else file_groups(data, context)
    start = _parent(parent, store, rounds, base=reference.fingerprint)

    draft = out.with_name(out.name + ".tmp")
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft)
    try:
        update: Update = made_by.update(groups, parent=start, out=draft, seed=seed)
        lineage = {
            "updater": updater,
            "config": settings,
            "objective_from": _origin("objective", settings.get("objective"), registry),
            "updater_from": _origin("updater", updater, registry),
            "adapter": dict(context.adapter),
            "data": str(data),
            "rounds": list(rounds),
            "groups": len(groups),
            "model": {"name": reference.name, "fingerprint": reference.fingerprint},
            "parent": start.version if start else BASE_POLICY,
            "seed": seed,
            "version": update.checkpoint.version,
            "metrics": dict(update.metrics),
            "harness": importlib.metadata.version(DISTRIBUTION),
        }
        write_text(draft / LINEAGE, json.dumps(lineage, indent=1) + "\n")
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Trained(replace(update, checkpoint=replace(update.checkpoint, path=out)), lineage)


def _adapter(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of another `peft_type` stand alone: those of the first would be unknown to it."""
    if given.get("peft_type", base.get("peft_type")) != base.get("peft_type"):
        return dict(given)
    return merge(base, given)


def _parent(
    given: Path | str | None, store: RunStore | None, rounds: Sequence[int], *, base: str
) -> AdapterCheckpoint | None:
    if given == BASE_POLICY:
        return None
    if given is not None:
        return open_checkpoint(Path(given), base=base)
    if store is None:
        return None
    first = min(rounds) if rounds else max(index for index, step in store.entries if step == "judge")
    standing = store.incumbent_round(upto=first - 1)
    if not standing:
        return None
    return store.load(standing, "update", lambda path: open_checkpoint(path, base=base))


def _origin(kind: str, name: Any, registry: Registry) -> str | None:
    return str(registry.get(kind, name).origin) if isinstance(name, str) else None
