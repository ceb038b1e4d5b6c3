"""One process of an update that a launcher runs: `python -m harness.worker JOB`. See `harness.launching`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from harness.checkpoints import open_checkpoint
from harness.errors import EXIT_INVALID, EXIT_OK, HarnessError
from harness.launching import EVENTS, Events
from harness.plugins import Sources, load_registry
from harness.protocols import ModelRef, Progress, RunContext, SilentProgress
from harness.records import read_groups

LOOK = 2.0
"""Seconds between two looks for the process that the work is done for."""


def main(job: Path) -> int:
    """Train this process's share; the first process writes the adapter and `result.json`."""
    rank = os.environ.get("RANK", "0")
    told = json.loads((job / "job.json").read_text())
    _end_with(told["started_by"])
    try:
        metrics = _train(told, job, first=rank == "0")
    except HarnessError as error:
        return _failed(job, rank, type(error).__name__, error.what, error.where, error.remedy)
    except Exception:  # its traceback would end in a log that no one sees
        return _failed(job, rank, "bug", traceback.format_exc())
    if rank == "0":
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        (job / "result.json").write_text(json.dumps({"metrics": metrics, "processes": processes}))
    return EXIT_OK


def _train(told: dict[str, Any], job: Path, *, first: bool) -> dict[str, float]:
    sources = told["sources"]
    registry = load_registry(**vars(Sources(**{**sources, "local_files": tuple(map(Path, sources["local_files"]))})))
    progress: Progress = Events(job / EVENTS) if first else SilentProgress()
    model = ModelRef(told["model"]["name"], Path(told["model"]["path"]), told["model"]["fingerprint"])
    context = RunContext(
        model=model,
        seed=told["seed"],
        adapter=told["adapter"],
        progress=progress,
        components=registry,
        scratch=Path(told["scratch"]) if told["scratch"] else None,
    )
    groups = read_groups(job / "groups.parquet")
    parent = open_checkpoint(Path(told["parent"]), base=model.fingerprint) if told["parent"] else None
    updater = registry.create("updater", told["updater"], told["config"], context, where="worker")
    with tempfile.TemporaryDirectory() as elsewhere:
        out = Path(told["out"]) if first else Path(elsewhere)
        return dict(updater.update(groups, parent=parent, out=out, seed=told["seed"]).metrics)


def _failed(job: Path, rank: str, kind: str, what: str, where: str = "", remedy: str = "") -> int:
    error = {"kind": kind, "what": what, "where": where, "remedy": remedy}
    (job / f"error.{rank}.json").write_text(json.dumps(error))
    return EXIT_INVALID


def _end_with(process: int) -> None:
    """End when that process is gone: it could be killed, and no handler of its own would tell the launcher."""

    def watch() -> None:
        while True:
            time.sleep(LOOK)
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                os._exit(EXIT_INVALID)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
