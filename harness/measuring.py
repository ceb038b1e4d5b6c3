"""What a run's policies were measured to do: evaluated once, look by look, and found again by round.

rounds/001/eval/        the first look           (step `evaluate`)
rounds/001/extension/   the items of the second  (step `extend`), once somebody has to look at them
rounds/001/confirm/     the target's fresh items (step `confirm`), at the end of the loop
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import LoopConfig
from harness.evaluation import SuiteResults, evaluate_suites, merged
from harness.looks import at_look
from harness.plugins import Registry
from harness.protocols import RunContext, Suite
from harness.records import read_groups, read_report, write_groups, write_json
from harness.sampler import Sampler
from harness.store import RunStore
from harness.types import BASE_POLICY, AdapterCheckpoint, EvalReport, Prompt, ScoredGroup

STEPS = {"evaluate": "eval", "extend": "extension", "confirm": "confirm"}
LOOKS = ("evaluate", "extend")


# ---------------------------------------------------------------- on disk


def write_eval(path: Path, report: EvalReport, results: SuiteResults) -> None:
    """The report and each suite's scored groups, into an empty folder."""
    for name, groups in results.items():
        write_groups(path / f"{slug(name)}.parquet", groups)
    write_json(path / "report.json", report)


def read_eval(path: Path) -> EvalReport:
    return read_report(path / "report.json")


def slug(name: str) -> str:
    """A suite's name as a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".-") or "suite"


def round_looks(store: RunStore, index: int) -> int:
    """How many looks a round's policy has been measured at: 0, 1 or 2."""
    return sum(store.entry(index, step) is not None for step in LOOKS)


def round_report(store: RunStore, index: int, looks: int | None = None) -> EvalReport:
    """Of a round's policy, over the first `looks` looks; by default all that there are."""
    steps = LOOKS[: looks or round_looks(store, index)]
    return merged([store.load(index, step, read_eval) for step in steps])


def round_answers(store: RunStore, index: int, suite: str) -> list[ScoredGroup]:
    """What a round's policy answered to a suite's items, at all looks that there are."""
    name = f"{slug(suite)}.parquet"
    folders = [store.load(index, step, lambda path: path) for step in LOOKS[: round_looks(store, index)]]
    return [group for folder in folders if (folder / name).is_file() for group in read_groups(folder / name)]


# ---------------------------------------------------------------- in a loop


@dataclass(frozen=True)
class Measures:
    """Evaluates a run's policies where that has not been done. `fresh` is the target with the items that no round
    sees."""

    config: LoopConfig
    suites: Sequence[Suite]
    fresh: Suite | None
    store: RunStore
    registry: Registry
    context: RunContext
    sampler: Sampler

    def at(self, index: int, checkpoint: AdapterCheckpoint | None, look: int = 1) -> EvalReport:
        """The policy of round `index` (`checkpoint`) over all items up to and with this look."""
        for number, step in enumerate(LOOKS[:look], start=1):
            parts = {suite.name: at_look(suite, number, self.config.gate) for suite in self.suites}
            self._step(index, step, checkpoint, self.suites, parts)
        return round_report(self.store, index, look)

    def fresh_items(self, index: int, checkpoint: AdapterCheckpoint | None) -> EvalReport:
        assert self.fresh is not None
        self._step(index, "confirm", checkpoint, [self.fresh], {self.fresh.name: self.fresh.items})
        return self.store.load(index, "confirm", read_eval)

    def _step(
        self,
        index: int,
        step: str,
        checkpoint: AdapterCheckpoint | None,
        suites: Sequence[Suite],
        parts: Mapping[str, Sequence[Prompt]],
    ) -> None:
        def make(path: Path) -> Mapping[str, Any]:
            report, results = evaluate_suites(
                suites,
                self.sampler.at(checkpoint),
                policy_version=checkpoint.version if checkpoint else BASE_POLICY,
                registry=self.registry,
                context=self.context,
                config=self.config.eval,
                parts=parts,
            )
            path.mkdir()
            write_eval(path, report, results)
            self.registry.notify("harness_eval_finished", run=self.store.folder.name, index=index, report=report)
            means = {f"eval/{s.suite}": s.mean for s in report.suites if s.mean is not None}
            return {**means, **self.sampler.metrics}

        self.store.step(index, step, STEPS[step], make=make, read=lambda path: None)
