"""An update in processes of its own, started by a launcher: the same updater, on as many devices as there are.

This process writes the job (groups, settings, parent) into a folder, `accelerate launch` starts `harness.worker` as
often as it is told, and the workers' first writes the adapter. So a loop, its sampler and its store stay one process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
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
from harness.specs import UpdaterSpec
from harness.types import AdapterCheckpoint, ScoredGroup, Update

POLL = 0.2
"""Seconds between two looks at what the workers have said."""

GRACE = 20.0
"""Seconds that the launcher has to end its workers when it is told to."""


class WorkerError(Exception):
    """A bug in a worker, with its traceback."""


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
                "started_by": os.getpid(),
            }
            (job / "job.json").write_text(json.dumps(description, default=str))
            code = self._run(job)
            result = _result(job, code)
        asked = self.launcher.num_processes
        if asked is not None and result["processes"] != asked:
            raise HarnessError(
                f"{result['processes']} processes were started, not {asked}",
                where="launcher",
                remedy="Look at distributed_type and use_cpu in its config file.",
            )
        return Update(open_checkpoint(out, base=model.fingerprint), result["metrics"])

    def _run(self, job: Path) -> int:
        """Start the launcher and show what its workers say; its exit code. Its own output goes to `job/log`."""
        command = [sys.executable, "-m", "accelerate.commands.launch", *launch_flags(self.launcher)]
        with (job / "log").open("w") as log, ExitStack() as tasks:
            process = subprocess.Popen(
                [*command, "-m", "harness.worker", str(job)], stdout=log, stderr=log, start_new_session=True
            )
            shown = Shown(self.context.progress, tasks)
            try:
                while process.poll() is None:
                    shown.read(job / EVENTS)
                    time.sleep(POLL)
                shown.read(job / EVENTS)
            finally:
                _end(process)
        return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever ends us (Ctrl-C above all) ends the launcher, and that its workers."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _result(job: Path, code: int) -> dict[str, Any]:
    """What the first worker made, or what the first of them to fail failed of."""
    for file in sorted(job.glob("error.*.json")):
        error = json.loads(file.read_text())
        if error["kind"] == "bug":
            raise WorkerError(error["what"])
        kind = {"UpdateError": UpdateError, "ConfigError": ConfigError}.get(error["kind"], HarnessError)
        raise kind(error["what"], where=error["where"], remedy=error["remedy"])
    if code != 0 or not (job / "result.json").is_file():
        lines = [line for line in (job / "log").read_text(errors="replace").splitlines() if line.strip()]
        raise HarnessError(
            f"it ended with code {code}: {lines[-1] if lines else 'it said nothing'}",
            where="launcher",
            remedy="Try its config file with `accelerate test --config_file FILE`.",
        )
    result: dict[str, Any] = json.loads((job / "result.json").read_text())
    return result


def launch_flags(launcher: LauncherConfig) -> list[str]:
    flags = ["--main_process_port", "0"]  # any that is free: two runs on a machine must not meet
    if launcher.config_file is not None:
        flags += ["--config_file", str(launcher.config_file)]
    if launcher.num_processes is not None:
        flags += ["--num_processes", str(launcher.num_processes)]
    if launcher.config_file is None:
        flags += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        # The flag stands for one process a device, CPUs too: with --cpu accelerate starts one process without a word.
        flags += ["--multi_gpu"] if (launcher.num_processes or 0) > 1 else []
    return flags


# ---------------------------------------------------------------- progress across processes

EVENTS = "events.jsonl"


class Events:
    """A `Progress` that writes lines into a file, for the process that shows them."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def _say(self, **event: Any) -> None:
        with self.file.open("a") as handle:
            handle.write(json.dumps(event) + "\n")

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


class Shown:
    """The other side of `Events`: what was written since the last look is shown."""

    def __init__(self, progress: Progress, tasks: ExitStack) -> None:
        self.progress, self.tasks = progress, tasks
        self.open: list[tuple[ExitStack, Any]] = []
        self.position = 0

    def read(self, file: Path) -> None:
        if not file.is_file():
            return
        with file.open("rb") as handle:
            handle.seek(self.position)
            text = handle.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.position += len(whole)
        for line in whole.splitlines():
            self._show(json.loads(line))

    def _show(self, event: dict[str, Any]) -> None:
        if "note" in event:
            self.progress.note(event["note"])
        elif "start" in event:
            stack = self.tasks.enter_context(ExitStack())
            self.open.append((stack, stack.enter_context(self.progress.task(event["start"], event["total"]))))
        elif "advance" in event:
            self.open[-1][1](event["advance"], **event["figures"])
        else:
            self.open.pop()[0].close()


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
    if launcher is None:
        return updater
    spec = registry.get("updater", name).spec
    if isinstance(spec, UpdaterSpec) and not spec.launchable:
        raise ConfigError(
            f"the updater {name} runs in one process", where=where, remedy="Leave the launcher out, or use another."
        )
    if settings.get("early_stopping", "none") != "none":
        raise ConfigError(
            f"early_stopping = {settings['early_stopping']!r} does not go with a launcher",
            where=where,
            remedy="Leave one of the two out.",
        )
    return LaunchedUpdater(name, settings, context, launcher, registry.sources)
