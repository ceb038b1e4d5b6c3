"""Writing what was trained so that others can load it, with a card that says how it came to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness import assets
from harness.checkpoints import SEAL, open_checkpoint
from harness.comparison import run_model
from harness.durable import require_new, write_text, written_aside
from harness.errors import ConfigError
from harness.lineage import Lineage, alone_lineage, run_lineage
from harness.model_card import model_card
from harness.plugins import Registry, load_registry
from harness.protocols import Exporter, Progress, RunContext, SilentProgress
from harness.specs import ExporterSpec
from harness.store import RunStore
from harness.train import read_training
from harness.types import AdapterCheckpoint


def export_model(
    source: Path,
    *,
    out: Path,
    round: int | None = None,
    model: str | None = None,
    format: str = "merged",
    config: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Lineage:
    """Write an adapter into the new folder `out` in the `format` of that exporter, with `README.md` and `lineage.json`.

    `source` is a run's folder, for its incumbent or the adapter of `round`; or an adapter's folder. The model is the
    one that the run or the adapter's own record names, unless `model` does. Raises HarnessError for anything that is
    wrong, before anything is written.
    """
    registry = registry or load_registry()
    require_new(out)
    spec = registry.get("exporter", format).spec
    settings = registry.config("exporter", format, config or {}, where="--set").model_dump(mode="json")
    context = RunContext(progress=progress or SilentProgress(), components=registry)
    source, round = _round_of_a_run(source, round)
    find = _from_run if RunStore.exists(source) else _from_adapter
    checkpoint, lineage, context = find(source, round, model, registry, context)
    exporter: Exporter = registry.create("exporter", format, settings, context, where="--set")
    assert isinstance(spec, ExporterSpec)
    with written_aside(out) as draft, context.progress.task(f"export {format}", total=1) as advance:
        exporter.export(checkpoint, draft)
        card = model_card(lineage, name=out.resolve().name, format=format, library=spec.library, settings=settings)
        write_text(draft / "README.md", card)
        facts = {"format": format, "settings": settings, **asdict(lineage)}
        write_text(draft / "lineage.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        advance()
    return lineage


def _round_of_a_run(source: Path, round: int | None) -> tuple[Path, int | None]:
    """A round's adapter folder stands for its run and round: the run knows more of it than the folder does."""
    whole = source.resolve()
    inside = whole.name == "adapter" and whole.parent.parent.name == "rounds" and round is None
    if inside and RunStore.exists(whole.parents[2]):
        return whole.parents[2], int(whole.parent.name)
    return source, round


Found = tuple[AdapterCheckpoint, Lineage, RunContext]


def _from_run(source: Path, round: int | None, model: str | None, registry: Registry, context: RunContext) -> Found:
    store = RunStore.open(source)
    index = store.incumbent_round() if round is None else round
    trained = sorted(i for i, step in store.entries if step == "update")
    if index not in trained:
        nothing = "nothing was promoted, so the base model stands" if round is None else f"round {round} has no adapter"
        known = f"Rounds that have one: {', '.join(map(str, trained)) or 'none'}; choose with --round."
        raise ConfigError(nothing, where=str(source), remedy=known)
    reference = run_model(store, model, context.progress)
    checkpoint = store.load(index, "update", lambda path: open_checkpoint(path, base=reference.fingerprint))
    context = replace(context, model=reference)
    return checkpoint, run_lineage(store, index, reference, registry, context), context


def _from_adapter(source: Path, round: int | None, model: str | None, registry: Registry, context: RunContext) -> Found:
    if round is not None:
        raise ConfigError("this is no run, so it has no rounds", where=str(source), remedy="Leave --round out.")
    if not (source / SEAL).is_file():
        raise ConfigError("there is no such run or adapter", where=str(source), remedy="See `harness runs`.")
    checkpoint = open_checkpoint(source)
    record = read_training(checkpoint)
    name = model or (record["model"]["name"] if record else None)
    if name is None:
        raise ConfigError("it does not say which model it is of", where=str(source), remedy="Name it with --model.")
    reference = assets.model(name, context.progress)
    checkpoint = open_checkpoint(source, base=reference.fingerprint)
    return checkpoint, alone_lineage(checkpoint.version, reference, record), replace(context, model=reference)
