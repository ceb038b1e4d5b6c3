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
interrupted GRPO goes on from its last point with a new optimizer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from side_by_side import machine

import harness
from harness import assets
from harness.api import find_suite
from harness.checkpoints import open_checkpoint
from harness.cli.tables import table
from harness.cli.view import View
from harness.config import EvalConfig
from harness.eval_plan import plan_evaluation
from harness.evaluating import run_evaluations
from harness.independence import uses_for
from harness.measuring import round_report
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
    def config(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.store.identity["config"]
        return found

    @property
    def rounds(self) -> range:
        return range(self.store.committed() + 1)

    def stage(self, updater: str) -> Mapping[str, Any]:
        """The run's first stage with this updater."""
        found: list[Mapping[str, Any]] = [stage for stage in self.config["stages"] if stage["updater"] == updater]
        if not found:
            raise SystemExit(f"{self.run} has no stage with the updater {updater}")
        return found[0]

    def accuracy(self, report: EvalReport) -> float:
        items = self.common()
        suite = report.suite(self.suite.name)
        assert suite is not None
        return fmean(i.score for i in suite.items if (i.id, i.hash) in items and i.score is not None)

    def common(self) -> set[tuple[str, str]]:
        """The items that every round of the run was measured on."""
        found = {(item.id, item.hash) for item in self.suite.items[: self.limit]}
        for index in self.rounds:
            if (suite := round_report(self.store, index).suite(self.suite.name)) is not None:
                found &= {(item.id, item.hash) for item in suite.items}
        return found

    def seconds(self, upto: int, *, evaluating: bool = False) -> float:
        """What the run took up to and with a round."""
        counted = self.store.entries.items()
        return sum(e.seconds for (r, step), e in counted if r <= upto and (evaluating or step not in MEASURING))

    def evaluated(self, trained: Mapping[str, tuple[Path, float]]) -> list[Point]:
        """Points of adapters, by label, with their seconds; all are evaluated in one engine start."""
        plans = {
            self.out / "evals" / folder.name: plan_evaluation(
                self.config["suite"],
                model=self.config["model"],
                adapter=folder,
                config=EvalConfig(limit=self.limit),
                registry=self.registry,
                progress=self.context.progress,
            )
            for folder, _ in trained.values()
        }
        done = run_evaluations(plans, resume=True, registry=self.registry, progress=self.context.progress)
        return [
            {"label": label, "seconds": seconds, "accuracy": self.accuracy(one.evaluation.report)}
            for (label, (_, seconds)), one in zip(trained.items(), done, strict=True)
        ]


# ---------------------------------------------------------------- the arms


def ours(study: Study) -> list[Point]:
    """Of what stands after each round."""
    points = []
    for index in study.rounds:
        standing = round_report(study.store, study.store.incumbent_round(upto=index))
        candidate = round_report(study.store, index)
        points.append(
            {
                "label": f"round {index}",
                "seconds": study.seconds(index),
                "all_seconds": study.seconds(index, evaluating=True),
                "accuracy": study.accuracy(standing),
                "candidate": study.accuracy(candidate),
            }
        )
    return points


def sft(study: Study, epochs: Sequence[int]) -> list[Point]:
    trained = {}
    for count in epochs:
        folder, timing = study.out / f"sft-{count}", study.out / f"sft-{count}.json"
        if not timing.exists():
            for left in (folder, folder.with_name(f"{folder.name}.midway")):  # of a training whose time is not known
                shutil.rmtree(left, ignore_errors=True)
            settings = {**study.stage("sft")["config"], "epochs": count}
            training = plan_training(
                "sft",
                study.run,
                rounds=[1],
                parent="base",
                config=settings,
                out=folder,
                progress=study.context.progress,
            )
            started = time.monotonic()
            training.run()
            timing.write_text(json.dumps({"seconds": time.monotonic() - started}))
        trained[f"{count} epochs"] = (folder, json.loads(timing.read_text())["seconds"])
    return study.evaluated(trained)


def trl(study: Study, start: str, minutes: float, every: float) -> list[Point]:
    """From where the last call has stopped. `seconds` begin with those of the start."""
    parent: AdapterCheckpoint | None = None
    offset = spent = 0.0
    if start == "sft":
        base = study.context.require_model().fingerprint
        parent = study.store.load(1, "update", lambda path: open_checkpoint(path, base=base))
        offset = study.seconds(1)
    known = sorted(study.out.glob(f"trl-{start}-*/seconds.json"), key=lambda file: float(file.read_text()))
    if known:
        parent, spent = open_checkpoint(known[-1].parent), float(known[-1].read_text())
    if spent < 60 * minutes:
        train_trl(study, parent, f"trl-{start}", spent=spent, limit=60 * minutes, every=60 * every, seed=len(known))
    files = sorted(study.out.glob(f"trl-{start}-*/seconds.json"), key=lambda file: float(file.read_text()))
    spans = {file.parent: float(file.read_text()) for file in files}
    return study.evaluated({f"{taken / 60:.0f} minutes": (folder, offset + taken) for folder, taken in spans.items()})


def train_trl(
    study: Study, parent: AdapterCheckpoint | None, name: str, *, spent: float, limit: float, every: float, seed: int
) -> None:
    """Seals the adapter in `out/NAME-SECONDS` every so many seconds of training, and at the end."""
    from transformers import TrainerCallback  # here, or the engine's processes would import it too

    from harness.chat import load_tokenizer
    from harness.errors import UpdateError
    from harness_plugins.trl.arguments import trl_arguments
    from harness_plugins.trl.common import silence

    stage, prompts = study.stage("group"), train_batch(study.suite, seed, 0, len(study.suite.train))
    sampling = Sampling(stage["temperature"], max_tokens=stage.get("max_tokens") or study.suite.sampling.max_tokens)
    given = study.registry.create("generator", "reference", {}, study.context)
    groups = [ScoredGroup(g, ((),), (None,)) for g in given.generate(prompts, n=1, sampling=sampling, seed=seed)]
    judges = [{"name": j.name, "config": j.config, "weight": j.weight} for j in uses_for(study.suite, "train")]
    settings = {
        "judges": judges,
        "learning_rate": stage["config"]["learning_rate"],
        "epochs": 1000,  # the clock ends it
        "groups_per_step": 1,
        "n": stage["n"],
        "args": {"gradient_accumulation_steps": stage["config"]["groups_per_step"]},
    }
    updater = study.registry.create("updater", "trl-grpo", settings, study.context)
    job = updater.job(groups, parent=parent, seed=seed)
    model = updater.open(parent=parent, seed=seed)

    class Marks(TrainerCallback):
        """The clock stands while an adapter is sealed."""

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.origin = time.monotonic() - spent
            self.due = min(spent + every, limit)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            taken = time.monotonic() - self.origin
            study.context.progress.note(f"step {state.global_step}: {taken:.0f} of {limit:.0f} s")
            if taken < self.due:
                return
            folder = study.out / f"{name}-{taken:.0f}"
            folder.mkdir()
            updater.seal(model, folder, job.probe_token_ids)
            (folder / "seconds.json").write_text(f"{taken:.1f}")
            self.origin = time.monotonic() - taken
            self.due = min(taken + every, limit)
            control.should_training_stop = taken >= limit

    with silence():
        scratch = str(study.out / "scratch")
        args = trl_arguments(updater.config_class, updater.config, folder=scratch, seed=seed, **job.settled)
        trainer = job.make_trainer(model, load_tokenizer(study.context.require_model().path), args)
        trainer.add_callback(Marks())
        trainer.train()
    try:
        said = f"{job.metrics()['update/groups_without_signal']:.0f} groups without signal"
    except UpdateError as error:
        said = error.what
    study.context.progress.note(f"{name}: {said}")


# ---------------------------------------------------------------- what is shown

WIDTH, HEIGHT = 72, 16


def plot(arms: Mapping[str, Sequence[Point]]) -> str:
    """Accuracy (up) by minutes of training (right): capital letters are points, small ones what stands until the
    next."""
    end = max(point["seconds"] for points in arms.values() for point in points) or 1.0
    top = max(point["accuracy"] for points in arms.values() for point in points) or 1.0
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    for mark, points in zip("ABCDEFGH", arms.values(), strict=False):
        places = [
            (round(p["seconds"] / end * (WIDTH - 1)), HEIGHT - 1 - round(p["accuracy"] / top * (HEIGHT - 1)))
            for p in sorted(points, key=lambda p: p["seconds"])
        ]
        for (x, y), (until, _) in zip(places, [*places[1:], (WIDTH, 0)], strict=True):
            for column in range(x + 1, until):
                if grid[y][column] == " ":
                    grid[y][column] = mark.lower()
            grid[y][x] = mark
    scale = [f"{top * (HEIGHT - 1 - y) / (HEIGHT - 1):6.1%} |" for y in range(HEIGHT)]
    keys = ", ".join(f"{mark} {name}" for mark, name in zip("ABCDEFGH", arms, strict=False))
    lines = [side + "".join(line) for side, line in zip(scale, grid, strict=True)]
    return "\n".join([*lines, " " * 7 + "+" + "-" * WIDTH, f"{'':8}0{end / 60:>{WIDTH - 5}.0f} min", f"{'':8}{keys}"])


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
    parser.add_argument("--arm", choices=["ours", "sft", "trl"])
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3, 6])
    parser.add_argument("--start", choices=["base", "sft"], default="sft")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training; TRL ends its optimizer step")
    parser.add_argument("--every", type=float, default=10.0, help="minutes between two points of TRL")
    parser.add_argument("--items", type=int, help="of the target suite; default: all")
    options = parser.parse_args()
    if options.arm:
        store, registry, view = RunStore.open(options.run), harness.load_registry(), View(quiet=False)
        config = store.identity["config"]
        model = assets.model(config["model"], view)
        context = RunContext(model=model, adapter=config["adapter"], progress=view, components=registry)
        suite = find_suite(config["suite"], registry, context)
        study = Study(options.run, store, suite, registry, context, options.out, options.items)
        (options.out / "points").mkdir(parents=True, exist_ok=True)
        if options.arm == "ours":
            name, points = "ours", ours(study)
        elif options.arm == "sft":
            name, points = "sft", sft(study, options.epochs)
        else:
            name, points = f"trl-{options.start}", trl(study, options.start, options.minutes, options.every)
        found = {"machine": machine(), "items": len(study.common()), "points": points}
        (options.out / "points" / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    show(options.out)


if __name__ == "__main__":
    main()
