"""Held-out accuracy against training time, all from the same base model: our default loop, plain SFT, and TRL's GRPO.

    python benchmarks/time_to_quality.py RUN --out DIR --arm ours
    python benchmarks/time_to_quality.py RUN --out DIR --arm sft [--epochs 1 3 6]
    python benchmarks/time_to_quality.py RUN --out DIR --arm trl --start sft [--minutes 60] [--every 10]
    python benchmarks/time_to_quality.py RUN --out DIR                         (the table and the plot of what is there)

RUN is a finished run of the default loop. Of it come our curve (no clock but its journal's, nothing is run), the model,
the demonstrations and settings of its first stage for SFT, and for TRL the settings of its first `group` stage. A point
of SFT is a training of its own with as many epochs and its own schedule. TRL goes on in one GRPOTrainer, from the
adapter of the run's first stage (`--start sft`; what that took counts) or from the base (`--start base`, where GRPO has
next to nothing to learn from: all rewards of a group are equal).

Accuracy is over the items that every round of RUN was measured on. Evaluating counts in no arm's time; what the loop
took with it is in the table. A point that is there is not made again: an interrupted SFT training starts anew, an
interrupted GRPO goes on from its last point with a new optimizer. Take another DIR for another RUN or other --items.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from side_by_side import machine
from step_plot import plot
from trl_grpo import make_grpo, train_for

import harness
from harness import assets
from harness.api import find_suite
from harness.checkpoints import open_checkpoint
from harness.cli.tables import table
from harness.cli.view import View
from harness.config import EvalConfig, GeneratorRef
from harness.eval_plan import plan_evaluation
from harness.evaluating import run_evaluations
from harness.measuring import round_looks, round_report
from harness.protocols import RunContext, Suite
from harness.sampling_step import train_batch
from harness.store import RunStore
from harness.train import plan_training
from harness.types import AdapterCheckpoint, EvalReport, Sampling, ScoredGroup

MEASURING = {"evaluate", "extend", "confirm", "frozen", "monitors"}
"""Steps of a run that train nothing."""

Point = Mapping[str, Any]
"""`label`, `seconds` of training since the base, `accuracy`, and `all_seconds` with the loop's own evaluations."""


@dataclass(frozen=True)
class Study:
    run: Path
    store: RunStore
    suite: Suite
    registry: harness.Registry
    context: RunContext
    out: Path
    limit: int | None

    @property
    def config(self) -> Any:
        return self.store.identity["config"]

    @property
    def rounds(self) -> list[int]:
        """Those that were evaluated: an update can fail."""
        return [index for index in range(self.store.committed() + 1) if round_looks(self.store, index)]

    def stage(self, updater: str) -> Any:
        """The run's first stage with this updater."""
        return next(stage for stage in self.config["stages"] if stage["updater"] == updater)

    def accuracy(self, report: EvalReport) -> float:
        scores = self.scores(report)
        return fmean(score for item in self.common() if (score := scores[item]) is not None)

    def common(self) -> set[tuple[str, str]]:
        """The items that every round of the run was measured on."""
        found = {(item.id, item.hash) for item in self.suite.items[: self.limit]}
        return found.intersection(*(self.scores(round_report(self.store, index)) for index in self.rounds))

    def scores(self, report: EvalReport) -> dict[tuple[str, str], float | None]:
        suite = report.suite(self.suite.name)
        return {(item.id, item.hash): item.score for item in suite.items} if suite else {}

    def seconds(self, upto: int, *, evaluating: bool = False) -> float:
        """What the run took up to and with a round."""
        counted = self.store.entries.items()
        return sum(e.seconds for (r, step), e in counted if r <= upto and (evaluating or step not in MEASURING))

    def point(self, index: int, label: str, of: int) -> Point:
        """After a round of the run, of the policy that round `of` was evaluated with."""
        accuracy = self.accuracy(round_report(self.store, of))
        spent = {"seconds": self.seconds(index), "all_seconds": self.seconds(index, evaluating=True)}
        return {"label": label, **spent, "accuracy": accuracy}

    def evaluated(self, trained: Sequence[tuple[Path, str, float]]) -> list[Point]:
        """Points of adapters with their labels and seconds; all are evaluated in one engine start."""
        plans = {
            self.out / "evals" / folder.name: plan_evaluation(
                self.config["suite"],
                model=self.config["model"],
                adapter=folder,
                generator=GeneratorRef(**self.config["generator"]),
                config=EvalConfig(**self.config["eval"]).model_copy(update={"limit": self.limit}),
                seed=self.config["seed"],
                registry=self.registry,
                progress=self.context.progress,
            )
            for folder, _, _ in trained
        }
        done = run_evaluations(plans, resume=True, registry=self.registry, progress=self.context.progress)
        return [
            {"label": label, "seconds": seconds, "accuracy": self.accuracy(one.evaluation.report)}
            for (_, label, seconds), one in zip(trained, done, strict=True)
        ]


def ours(study: Study) -> list[Point]:
    """Of what stands after each round."""
    return [study.point(index, f"round {index}", study.store.incumbent_round(upto=index)) for index in study.rounds]


def sft(study: Study, epochs: Sequence[int]) -> list[Point]:
    trained = []
    for count in epochs:
        folder, timing = study.out / f"sft-{count}", study.out / f"sft-{count}.json"
        if not timing.exists():
            for left in (folder, folder.with_name(f"{folder.name}.midway")):  # of a training whose time is not known
                shutil.rmtree(left, ignore_errors=True)
            settings = {**study.stage("sft")["config"], "epochs": count}
            options = {"parent": "base", "config": settings, "out": folder, "progress": study.context.progress}
            training = plan_training("sft", study.run, rounds=[1], **options)
            started = time.monotonic()
            training.run()
            timing.write_text(json.dumps({"seconds": time.monotonic() - started}))
        trained.append((folder, f"{count} epochs", json.loads(timing.read_text())["seconds"]))
    return [study.point(0, "base", 0), *study.evaluated(trained)]


def trl(study: Study, start: str, minutes: float, every: float) -> list[Point]:
    """From where the last call has stopped."""
    parent: AdapterCheckpoint | None = None
    offset = spent = 0.0
    if start == "sft":
        base = study.context.require_model().fingerprint
        parent = study.store.load(1, "update", lambda path: open_checkpoint(path, base=base))
        offset = study.seconds(1)
    name = f"trl-{start}"
    if known := sealed(study.out, name):
        folder, mark = known[-1]
        parent, spent = open_checkpoint(folder), mark["seconds"]
    if spent < 60 * minutes:
        train_trl(study, parent, name, spent=spent, limit=60 * minutes, every=60 * every, seed=len(known))
        known = sealed(study.out, name)
    trained = [(folder, f"{mark['seconds'] / 60:.1f} min", offset + mark["seconds"]) for folder, mark in known]
    points = zip(study.evaluated(trained), known, strict=True)
    begin = int(start == "sft")
    return [study.point(begin, start, begin), *({**point, "signal": mark["signal"]} for point, (_, mark) in points)]


def sealed(out: Path, name: str) -> list[tuple[Path, dict[str, Any]]]:
    """Folders of an arm's adapters and their marks, in the order in which they were made."""
    found = [(file.parent, json.loads(file.read_text())) for file in out.glob(f"{name}-*/mark.json")]
    return sorted(found, key=lambda pair: pair[1]["seconds"])


def train_trl(
    study: Study, parent: AdapterCheckpoint | None, name: str, *, spent: float, limit: float, every: float, seed: int
) -> None:
    stage, prompts = study.stage("group"), train_batch(study.suite, seed, 0, len(study.suite.train))
    sampling = Sampling(stage["temperature"], max_tokens=stage.get("max_tokens") or study.suite.sampling.max_tokens)
    given = study.registry.create("generator", "reference", {}, study.context)  # of it the tokens of the prompts
    made = make_grpo(
        study.suite,
        [ScoredGroup(g, ((),), (None,)) for g in given.generate(prompts, n=1, sampling=sampling, seed=seed)],
        study.registry,
        study.context,
        parent=parent,
        sampling=sampling,
        n=stage["n"],
        groups_per_step=stage["config"]["groups_per_step"],
        learning_rate=stage["config"]["learning_rate"],
        folder=study.out / "scratch",
        seed=seed,
        epochs=1000,  # the clock ends it
        dtype=stage["config"]["dtype"],
    )
    train_for(made, study.out, name, spent=spent, limit=limit, every=every, note=study.context.progress.note)


def show(out: Path) -> None:
    arms = {file.stem: json.loads(file.read_text())["points"] for file in sorted((out / "points").glob("*.json"))}
    if not arms:
        raise SystemExit(f"no arm has been run into {out}")

    def minutes(point: Point, key: str) -> str:
        return f"{point[key] / 60:.1f}" if key in point else ""

    rows = [
        [name, point["label"], minutes(point, "seconds"), minutes(point, "all_seconds"), f"{point['accuracy']:.1%}"]
        for name, points in arms.items()
        for point in points
    ]
    print(table(["arm", "point", "minutes of training", "with its evaluations", "accuracy"], rows))
    print(plot(arms))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arm", choices=["ours", "sft", "trl"], help="default: none, show what is there")
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3, 6])
    parser.add_argument("--start", choices=["base", "sft"], default="sft")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training; TRL ends its optimizer step")
    parser.add_argument("--every", type=float, default=10.0, help="minutes between two points of TRL")
    parser.add_argument("--items", type=int, help="of the target suite; default: all")
    options = parser.parse_args()
    (options.out / "points").mkdir(parents=True, exist_ok=True)
    if options.arm:
        store, registry, view = RunStore.open(options.run), harness.load_registry(), View(quiet=False)
        config = store.identity["config"]
        model = assets.model(config["model"], view)
        context = RunContext(model=model, adapter=config["adapter"], progress=view, components=registry)
        suite = find_suite(config["suite"], registry, context)
        limit = options.items or config["eval"].get("limit")
        study = Study(options.run, store, suite, registry, context, options.out, limit)
        name = f"trl-{options.start}" if options.arm == "trl" else options.arm
        arms: Mapping[str, Callable[[], list[Point]]] = {
            "ours": lambda: ours(study),
            "sft": lambda: sft(study, options.epochs),
            "trl": lambda: trl(study, options.start, options.minutes, options.every),
        }
        points = arms[options.arm]()
        found = {"machine": machine(), "items": len(study.common()), "points": points}
        (options.out / "points" / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    show(options.out)


if __name__ == "__main__":
    main()
