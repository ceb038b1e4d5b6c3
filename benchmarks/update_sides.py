"""What the benchmarks of updates share: random groups of fixed lengths, a process for each side, a clock with a look at
memory and gradients, and the check that all sides have computed the same.

Each side lives in a process of its own, so that what one trainer patches, caches or leaves in the allocator is not in
the way of another, and works when it is its turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy
import torch
from side_by_side import Timed, alternating, ratios, write_json
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from transformers import PrinterCallback

from harness import assets
from harness.cli.tables import table
from harness.plugins import load_registry
from harness.protocols import RunContext, SilentProgress
from harness.types import Completion, Group, Prompt, Sampling, ScoredGroup
from harness_plugins.models.memory import release

LORA = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
OURS = "harness"
COSINE, NORM_TOLERANCE, LOSS_TOLERANCE = 0.99, 0.03, 0.01
"""What rounding in bfloat16 may make of gradients and losses that are the same."""


@dataclass(frozen=True)
class Shape:
    """Tokens of each prompt and of each completion."""

    name: str
    prompt: int
    completion: int


SHAPES = {
    shape.name: shape
    for shape in (Shape("tool calls", 300, 40), Shape("balanced", 128, 128), Shape("long answers", 128, 512))
}
WARM_UP = Shape("warm-up", 32, 16)


@dataclass(frozen=True)
class Work:
    """What a side is to train on, and how."""

    model: str
    shape: Shape
    groups: int
    completions: int
    steps: int = 1
    """Optimizer steps, each over all groups."""
    learning_rate: float = 5e-5

    @property
    def tokens(self) -> int:
        """Completion tokens of one step."""
        return self.groups * self.completions * self.shape.completion


@dataclass(frozen=True)
class Turn:
    """`seconds` are those from the start to the end of each optimizer step, `mib` is the peak over what was resident
    at the start. The losses are those of the first and the last step."""

    seconds: tuple[float, ...]
    mib: float
    losses: tuple[float, float]
    gradients: tuple[numpy.ndarray[Any, Any], ...]
    """Of all trained parameters, flat, one a step."""


Side = Callable[[Work], Turn]


@dataclass
class Clock:
    """Started by a side when its model is loaded; the optimizer's steps do the rest."""

    started: float = 0.0
    before: float = 0.0
    mib: float = 0.0
    seconds: list[float] = field(default_factory=list)
    gradients: list[numpy.ndarray[Any, Any]] = field(default_factory=list)

    def start(self, *, spent: float = 0.0) -> None:
        """`spent` are seconds that are counted although they lie before the start."""
        release()
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
        self.before = memory("VmRSS")
        self.started = time.perf_counter() - spent

    def before_step(self, optimizer: Any, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.gradients.append(torch.cat([p.grad.flatten().float() for p in parameters]).numpy())

    def after_step(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.started)
        self.mib = memory("VmHWM") - self.before

    def turn(self, first_loss: float, last_loss: float) -> Turn:
        return Turn(tuple(self.seconds), self.mib, (first_loss, last_loss), tuple(self.gradients))


@contextmanager
def clock() -> Iterator[Clock]:
    made = Clock()
    hooks = register_optimizer_step_pre_hook(made.before_step), register_optimizer_step_post_hook(made.after_step)
    try:
        yield made
    finally:
        for hook in hooks:
            hook.remove()


def memory(name: str) -> float:
    """MiB of this process, from the kernel's figures."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def context_for(work: Work) -> RunContext:
    model = assets.model(work.model, SilentProgress())
    return RunContext(model=model, adapter=LORA, components=load_registry(third_party=False))


def random_groups(work: Work, vocabulary: int, rewards: Sequence[float]) -> list[ScoredGroup]:
    """Groups of random tokens, the same for every side."""
    generator = torch.Generator().manual_seed(work.shape.prompt + work.shape.completion)

    def tokens(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, vocabulary, (length,), generator=generator).tolist())

    made = []
    for index in range(work.groups):
        prompt = tokens(work.shape.prompt)
        completions = tuple(Completion("", tokens(work.shape.completion)) for _ in rewards)
        group = Group(Prompt(str(index), ()), prompt, completions, "base", Sampling(max_tokens=work.shape.completion))
        made.append(ScoredGroup(group, tuple(() for _ in rewards), tuple(rewards)))
    return made


def trl_options(work: Work, folder: str) -> dict[str, Any]:
    """What TRL's trainers are told of the work. Its precision (bfloat16 by autocast) and its
    optimizer (AdamW) are the same as ours by default."""
    return {
        "output_dir": folder,
        "max_steps": work.steps,
        "learning_rate": work.learning_rate,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def trained_by(trainer: Any, running: Clock, *, spent: float = 0.0) -> Turn:
    """TRL's trainer at work, from now on."""
    trainer.remove_callback(PrinterCallback)
    running.start(spent=spent)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return running.turn(losses[0], losses[-1])


# ---------------------------------------------------------------- in the process that compares


def compare(
    sides: Mapping[str, Side], works: Sequence[Work], repeats: int, counts: Sequence[int]
) -> list[dict[str, Any]]:
    """A row for each piece of work, count of steps and side."""
    rows = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn"))) for name in sides}

        def turn_of(name: str, work: Work) -> Callable[[], Turn]:
            return lambda: workers[name].submit(sides[name], work).result()

        for work in works:
            for name in sides:  # first passes choose kernels and import what is imported late
                turn_of(name, replace(work, shape=WARM_UP))()
            done = alternating({name: turn_of(name, work) for name in sides}, repeats)
            turns = {name: [timed.result for timed in timed_turns] for name, timed_turns in done.items()}
            print(f"{work.shape.name}: done", file=sys.stderr)
            for count in counts:
                rows += [row(work, name, turns[name], turns[OURS], count) for name in sides]
    return rows


def row(work: Work, side: str, turns: Sequence[Turn], ours: Sequence[Turn], steps: int) -> dict[str, Any]:
    seconds = [turn.seconds[steps - 1] for turn in turns]
    cosine, norms = agreement(turns, ours)
    timed = [[Timed(turn.seconds[steps - 1], turn) for turn in side_turns] for side_turns in (turns, ours)]
    return {
        "shape": work.shape.name,
        "side": side,
        "steps": steps,
        "seconds": seconds,
        "median": median(seconds),
        "tokens_per_s": steps * work.tokens / median(seconds),
        "ratios": ratios(*timed),
        "mib": median(turn.mib for turn in turns),
        "losses": turns[0].losses,
        "loss_difference": loss_difference(turns, ours),
        "gradient_cosine": cosine,
        "gradient_norms": norms,
    }


def agreement(turns: Sequence[Turn], ours: Sequence[Turn]) -> tuple[float, float]:
    """The worst cosine of a first step's gradient with ours, and the ratio of norms that is farthest from 1.

    Later steps start from other weights: Adam's first step moves each by the learning rate, to the side that rounding
    chose where its gradient is next to nothing.
    """
    pairs = [(mine.gradients[0], other.gradients[0]) for mine, other in zip(ours, turns, strict=True)]
    norms = [(float(numpy.linalg.norm(a)), float(numpy.linalg.norm(b))) for a, b in pairs]
    cosine = min(float(a @ b) / (x * y) for (a, b), (x, y) in zip(pairs, norms, strict=True))
    return cosine, max((y / x for x, y in norms), key=lambda ratio: abs(ratio - 1))


def loss_difference(turns: Sequence[Turn], ours: Sequence[Turn]) -> float:
    """The largest between a side's first loss and ours."""
    return max(abs(turn.losses[0] - mine.losses[0]) for turn, mine in zip(turns, ours, strict=True))


# ---------------------------------------------------------------- the command line


def parser(description: str, *, sides: Collection[str], groups: int) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--side", action="append", choices=sides, help="only these beside ours; without any, all")
    made.add_argument("shape", nargs="*", help=f"only these of: {', '.join(SHAPES)}")
    made.add_argument("--model", default="smollm2-135m", help="an asset's name or a folder")
    made.add_argument("--groups", type=int, default=groups, help="groups, or pairs, of a step")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the table's rows there")
    return made


def works_of(options: argparse.Namespace, *, completions: int, steps: int = 1) -> list[Work]:
    if unknown := sorted(set(options.shape) - set(SHAPES)):
        raise SystemExit(f"unknown shape {', '.join(unknown)}; known are {', '.join(SHAPES)}")
    chosen = [shape for name, shape in SHAPES.items() if name in options.shape or not options.shape]
    return [Work(options.model, shape, options.groups, completions, steps) for shape in chosen]


def finish(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Print the table, write the file, and exit with an error where the sides have not computed the same."""
    columns = "shape", "side", "steps", "seconds", "tokens/s", "of ours", "MiB", "last loss", "cosine", "norm"
    cells = [
        [
            row["shape"],
            row["side"],
            str(row["steps"]),
            f"{row['median']:.2f}",
            f"{row['tokens_per_s']:.0f}",
            " ".join(f"{ratio:.2f}" for ratio in row["ratios"]),
            f"{row['mib']:.0f}",
            f"{row['losses'][1]:.5f}",
            f"{row['gradient_cosine']:.5f}",
            f"{row['gradient_norms']:.4f}",
        ]
        for row in rows
    ]
    print(table(columns, cells))
    if options.json:
        write_json(options.json, rows)
    if wrong := [f"{row['shape']}, {row['side']}" for row in rows if differs(row)]:
        raise SystemExit(f"these have computed something else than ours: {'; '.join(wrong)}")


def differs(row: Mapping[str, Any]) -> bool:
    return bool(
        row["gradient_cosine"] < COSINE
        or abs(row["gradient_norms"] - 1) > NORM_TOLERANCE
        or row["loss_difference"] > LOSS_TOLERANCE
    )
