"""Evaluations on disk: a folder with `report.json` and each suite's scored completions (`SUITE.parquet`).

`harness eval` writes one under `evals/`, with `evaluation.json`, which says what was evaluated; every round of a run
holds one under `rounds/NNN/eval`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.measuring import LOOKS, STEPS, round_looks, round_report, slug
from harness.records import read_groups, read_report
from harness.store import RunStore
from harness.types import EvalReport, ScoredGroup

EVALS = Path("evals")


@dataclass(frozen=True)
class Evaluation:
    """One policy on suites. `identity` is what was evaluated and how, as JSON; a run's rounds have the run's."""

    name: str
    folders: tuple[Path, ...]
    """Of its parts: a run's round may have been looked at twice."""
    report: EvalReport
    identity: Mapping[str, Any] = field(default_factory=dict)

    def groups(self, suite: str) -> list[ScoredGroup]:
        """The scored completions of a suite, in the order of its items."""
        files = [folder / f"{slug(suite)}.parquet" for folder in self.folders]
        return [group for file in files if file.is_file() for group in read_groups(file)]


def find_evaluation(name: str, *, evals: Path = EVALS, runs: Path = Path("runs")) -> Evaluation:
    """An evaluation by its folder, by its name under `evals`, by `RUN:ROUND`, or of what stands in `RUN`.

    Raises StoreError where there is none, or where what is there is damaged.
    """
    for folder in (Path(name), evals / name):
        if (folder / "report.json").is_file():
            return Evaluation(name, (folder,), _report(folder))
    run, _, index = name.rpartition(":") if name.rpartition(":")[2].isdigit() else (name, "", "")
    for folder in (Path(run), runs / run):
        if RunStore.exists(folder):
            return _of_round(name, RunStore.open(folder), int(index) if index else None)
    raise StoreError(
        f"no evaluation {name!r}",
        where="evaluation",
        remedy=f"Give a folder that `harness eval --out` wrote, a name under {evals}, or RUN:ROUND.",
    )


def _of_round(name: str, store: RunStore, index: int | None) -> Evaluation:
    index = store.incumbent_round() if index is None else index
    if store.entry(index, "evaluate") is None:
        raise StoreError(f"round {index} was not evaluated", where=str(store.folder), remedy="See `harness show RUN`.")
    steps = LOOKS[: round_looks(store, index)]
    folders = tuple(store.round_folder(index) / STEPS[step] for step in steps)
    return Evaluation(name, folders, round_report(store, index), store.identity)


def _report(folder: Path) -> EvalReport:
    path = folder / "report.json"
    try:
        return read_report(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the report is damaged ({error})", where=str(path), remedy="Evaluate again.") from None
