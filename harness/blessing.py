"""The evaluation that others are held against: a copy of its report that is small enough to be committed to git.

blessed/NAME/
  report.json     the evaluation's report: every item's score, and no completions
  blessed.json    which evaluation, whose policy, when, by whom and why, and the report's sha256
  history.jsonl   a line each time that one was blessed under this name
"""

from __future__ import annotations

import getpass
import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.durable import NOT_WRITABLE, append_line, make_folder, write_text
from harness.errors import ConfigError, StoreError
from harness.evaluations import EVALS, Evaluation, find_evaluation
from harness.gate import MIN_SCORED
from harness.measuring import slug

BLESSED = Path("blessed")
MAIN = "main"


@dataclass(frozen=True)
class Blessing:
    """What was blessed, and how it came about. `at` is UTC."""

    name: str
    evaluation: str
    policy_version: str
    at: str
    by: str
    reason: str
    report_sha256: str
    means: Mapping[str, float | None]
    """By suite."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What was evaluated and how, as the evaluation says."""


def bless(evaluation: Evaluation, *, name: str = MAIN, reason: str = "", folder: Path = BLESSED) -> Blessing:
    """Copies the report into `folder/name`, over one that is there: the history keeps its line.

    Raises ConfigError for a name that is no folder's, and for an evaluation that no gate would take.
    """
    if slug(name) != name:
        raise ConfigError(f"{name!r} is no name for a folder", where="--name", remedy=f"Take {slug(name)!r}.")
    for suite in evaluation.report.suites:
        if len(suite.scored) < MIN_SCORED * len(suite.items) or not suite.items:
            raise ConfigError(
                f"only {len(suite.scored)} of {len(suite.items)} items of {suite.suite} are scored, and a gate needs "
                f"{MIN_SCORED:.0%}",
                where=evaluation.name,
                remedy="Evaluate again.",
            )
    text = json.dumps(asdict(evaluation.report), indent=1, ensure_ascii=False) + "\n"
    blessing = Blessing(
        name=name,
        evaluation=str(evaluation.name),
        policy_version=evaluation.report.policy_version,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=_who(),
        reason=reason,
        report_sha256=_sha256(text),
        means={suite.suite: suite.mean for suite in evaluation.report.suites},
        identity=dict(evaluation.identity),
    )
    out = folder / name
    line = {key: value for key, value in asdict(blessing).items() if key not in ("identity", "name")}
    try:
        make_folder(out)
        # The report first: until blessed.json names it, what is there is refused, not taken for what was there before.
        write_text(out / "report.json", text)
        write_text(out / "blessed.json", json.dumps(asdict(blessing), indent=1, ensure_ascii=False) + "\n")
        append_line(out / "history.jsonl", json.dumps(line, ensure_ascii=False))
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        what = f"cannot be written ({error.strerror})"
        raise StoreError(what, where=str(out), remedy="Name another folder with --blessed.") from error
    return blessing


def blessings(folder: Path = BLESSED) -> list[Blessing]:
    """What is blessed, by name."""
    return [_read(path.parent) for path in sorted(folder.glob("*/blessed.json"))]


def find_blessed(name: str = MAIN, folder: Path = BLESSED) -> tuple[Blessing, Evaluation]:
    """Raises StoreError when there is none of that name, or when its report is not the one that was blessed."""
    path = folder / name
    if not (path / "blessed.json").is_file():
        raise StoreError(
            f"nothing is blessed as {name!r}",
            where=str(folder),
            remedy=f"Bless an evaluation (harness bless EVALUATION --name {name}), or name one with --incumbent.",
        )
    blessing, remedy = _read(path), "Restore both files, or bless again."
    try:
        text = (path / "report.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the report is missing or damaged ({error})", where=str(path), remedy=remedy) from None
    if _sha256(text) != blessing.report_sha256:
        raise StoreError("the report is not the one that was blessed", where=str(path), remedy=remedy)
    evaluation = replace(find_evaluation(str(path)), name=name, identity=blessing.identity)
    return blessing, evaluation


def find_blessed_or_stored(name: str, *, folder: Path = BLESSED, evals: Path = EVALS, runs: Path) -> Evaluation:
    """A blessed evaluation by its name, else a stored one."""
    if slug(name) == name and (folder / name / "blessed.json").is_file():
        return find_blessed(name, folder)[1]
    return find_evaluation(name, evals=evals, runs=runs)


def _read(path: Path) -> Blessing:
    try:
        return Blessing(**json.loads((path / "blessed.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"blessed.json is damaged ({error})", where=str(path), remedy="Restore it, or bless again."
        ) from None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _who() -> str:
    """As commits are signed here, else who is logged in."""
    try:
        asked = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, timeout=10, check=False)
        if asked.stdout.strip():
            return asked.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        pass  # no git here
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as containers have
        return "unknown"
