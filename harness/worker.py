"""One process of an update that a launcher runs: `python -m harness.worker JOB`. See `harness.launching`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from harness.checkpoints import open_checkpoint
from harness.errors import EXIT_INVALID, EXIT_OK, HarnessError
from harness.launching import ProgressLines
from harness.plugins import Sources, load_registry
from harness.protocols import ModelRef, Progress, RunContext, SilentProgress
from harness.records import read_groups


def main(job: Path) -> int:
    """Train this process's share; the first process writes the adapter and `result.json`."""
    first = os.environ.get("RANK", "0") == "0"
    told = json.loads((job / "job.json").read_text())
    sources = told["sources"]
    registry = load_registry(**vars(Sources(**{**sources, "local_files": tuple(map(Path, sources["local_files"]))})))
    progress: Progress = ProgressLines() if first else SilentProgress()
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
    with tempfile.TemporaryDirectory() as elsewhere:
        out = Path(told["out"]) if first else Path(elsewhere)
        try:
            parent = open_checkpoint(Path(told["parent"]), base=model.fingerprint) if told["parent"] else None
            updater = registry.create("updater", told["updater"], told["config"], context, where="worker")
            update = updater.update(groups, parent=parent, out=out, seed=told["seed"])
            result = {"metrics": dict(update.metrics)}
            code = EXIT_OK
        except HarnessError as error:
            told_of = {"kind": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy}
            result, code = {"error": told_of}, EXIT_INVALID
    if first:
        (job / "result.json").write_text(json.dumps(result))
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
