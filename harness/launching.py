"""An update in processes of its own, started by a launcher: the same updater, on as many devices as there are.

This process writes the job (groups, settings, parent) into a folder, `accelerate launch` starts `harness.worker` as
often as it is told, and the workers' first writes the adapter. So a loop, its sampler and its store stay one process.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.checkpoints import open_checkpoint
from harness.config import LauncherConfig
from harness.errors import ConfigError, HarnessError, UpdateError
from harness.plugins import Registry, Sources
from harness.protocols import Progress, RunContext, Updater
from harness.records import write_groups
from harness.types import AdapterCheckpoint, ScoredGroup, Update

EVENT = "\x1eharness "
"""Starts a line that a worker writes for this process; all others are the launcher's."""

LINES_SHOWN = 20


class LaunchedUpdater:
    """An updater that runs its update in the launcher's processes."""

    def __init__(
        self, name: str, settings: Mapping[str, Any], context: RunContext, launcher: LauncherConfig, sources: Sources
    ) -> None:
        if launcher.num_processes is None and launcher.config_file is None:
            raise ConfigError(
                "the launcher is not told how many processes to start",
                where="launcher",
                remedy="Set num_processes, or config_file.",
            )
        if launcher.config_file is not None and not launcher.config_file.is_file():
            raise ConfigError("no such file", where=str(launcher.config_file), remedy="Check launcher.config_file.")
        self.name, self.settings, self.context = name, settings, context
        self.launcher, self.sources = launcher, sources

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        """Raises what the updater raised. A launcher that fails by itself is a HarnessError with its last lines."""
        model = self.context.require_model()
        with tempfile.TemporaryDirectory(prefix="harness-job-") as folder:
            job = Path(folder)
            write_groups(job / "groups.parquet", groups)
            description = {
                "updater": self.name,
                "config": dict(self.settings),
                "adapter": dict(self.context.adapter),
                "model": {"name": model.name, "path": str(model.path), "fingerprint": model.fingerprint},
                "parent": str(parent.path.resolve()) if parent else None,
                "scratch": str(self.context.scratch.resolve()) if self.context.scratch else None,
                "out": str(out.resolve()),
                "seed": seed,
                "sources": asdict(self.sources),
            }
            (job / "job.json").write_text(json.dumps(description, default=str))
            code, lines = self._run(job)
            result = json.loads((job / "result.json").read_text()) if (job / "result.json").is_file() else {}
        if error := result.get("error"):
            kind = UpdateError if error["kind"] == "UpdateError" else HarnessError
            raise kind(error["what"], where=error["where"], remedy=error["remedy"])
        if code != 0 or "metrics" not in result:
            raise HarnessError(
                f"the launcher ended with code {code}:\n" + "\n".join(lines),
                where="launcher",
                remedy="Mend what its last lines say.",
            )
        return Update(open_checkpoint(out, base=model.fingerprint), result["metrics"])

    def _run(self, job: Path) -> tuple[int, Sequence[str]]:
        command = [sys.executable, "-m", "accelerate.commands.launch", *launch_flags(self.launcher)]
        tail: deque[str] = deque(maxlen=LINES_SHOWN)
        with subprocess.Popen(
            [*command, "-m", "harness.worker", str(job)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in show_progress(process.stdout, self.context.progress):
                    tail.append(line)
            except BaseException:  # whatever ends us (Ctrl-C above all) ends the workers
                process.send_signal(signal.SIGTERM)
                raise
        return process.returncode, list(tail)


def launch_flags(launcher: LauncherConfig) -> list[str]:
    flags = []
    if launcher.config_file is not None:
        flags += ["--config_file", str(launcher.config_file)]
    if launcher.num_processes is not None:
        flags += ["--num_processes", str(launcher.num_processes)]
    if launcher.config_file is None:
        flags += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        flags += ["--multi_gpu"] if shutil.which("nvidia-smi") else ["--cpu"]
    return flags


# ---------------------------------------------------------------- progress across processes


class ProgressLines:
    """A `Progress` that writes lines for the process that shows them."""

    def _say(self, **event: Any) -> None:
        sys.stdout.write(EVENT + json.dumps(event) + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        self._say(note=text)

    def track(self, items: Any, *, description: str, total: int | None = None) -> Iterator[Any]:
        with self.task(description, len(items) if total is None and hasattr(items, "__len__") else total) as advance:
            for item in items:
                yield item
                advance()

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Any]:
        self._say(start=description, total=total)
        try:
            yield lambda amount=1, **figures: self._say(advance=amount, figures=figures)
        finally:
            self._say(end=description)


def show_progress(lines: Iterable[str], progress: Progress) -> Iterator[str]:
    """Show the workers' events, and give back the other lines."""
    tasks: list[tuple[ExitStack, Any]] = []
    for line in lines:
        if not line.startswith(EVENT):
            yield line.rstrip("\n")
            continue
        event = json.loads(line.removeprefix(EVENT))
        if "note" in event:
            progress.note(event["note"])
        elif "start" in event:
            stack = ExitStack()
            tasks.append((stack, stack.enter_context(progress.task(event["start"], event["total"]))))
        elif "advance" in event:
            tasks[-1][1](event["advance"], **event["figures"])
        else:
            tasks.pop()[0].close()
    for stack, _ in reversed(tasks):  # of workers that were killed
        stack.close()


def make_updater(
    registry: Registry,
    name: str,
    settings: Mapping[str, Any],
    context: RunContext,
    launcher: LauncherConfig | None,
    *,
    where: str,
) -> Updater:
    """The updater of that name, in the launcher's processes where there is a launcher. Raises what either refuses."""
    updater: Updater = registry.create("updater", name, settings, context, where=where)
    return LaunchedUpdater(name, settings, context, launcher, registry.sources) if launcher else updater
