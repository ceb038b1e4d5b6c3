"""Judging elsewhere: completions go out as rows that say nothing of where they come from, verdicts come back.

    harness judge export RUN --out answers.jsonl      {"id", "prompt", "tools", "reference", "answer"}
    harness judge import verdicts.jsonl               {"id", "value", "judge", "explanation"}

Verdicts are kept in `RUN/verdicts/verdicts.jsonl`, by the content that was judged, where the judge `elsewhere` looks.
They are no part of what the run is, because they come in while it waits; a step that is stored is not changed by them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.durable import make_folder, write_text
from harness.errors import ConfigError, HarnessError, StoreError
from harness.jsonl import as_jsonl, read_jsonl
from harness.plugins import validate
from harness.records import read_groups
from harness.specs import Config
from harness.store import RunStore
from harness.types import Prompt, digest


@dataclass(frozen=True)
class Verdict:
    """What somebody says of one completion: a value in [0, 1], or None for one who abstained."""

    id: str
    value: float | None
    judge: str
    explanation: str = ""


@dataclass(frozen=True)
class Imported:
    """What an import did. `missing`: completions that wait to be judged and that nobody has judged, of `waiting`."""

    run: Path
    new: int
    known: int
    missing: int
    waiting: int


class _Row(Config):
    """A row of verdicts; it may still hold what was exported with it."""

    id: str
    value: float | None = Field(ge=0, le=1, strict=True)
    judge: str | None = Field(default=None, min_length=1)
    explanation: str | None = None
    prompt: Any = None
    tools: Any = None
    reference: Any = None
    answer: str | None = None


def completion_id(prompt: Prompt, text: str) -> str:
    """Identity of an answer to a prompt, whoever gave it."""
    return digest([prompt.hash, text])[:16]


def verdict_folder(run: Path) -> Path:
    return run / "verdicts"


# ---------------------------------------------------------------- out


def export_unjudged(run: Path, *, round: int | None = None, judged: bool = False) -> list[dict[str, Any]]:
    """Rows of the completions that wait to be judged and that nobody has judged yet; with `judged` all others, too.

    Equal answers to equal prompts are one row. Their order is that of the ids: it is fixed, and tells nothing.
    Raises ConfigError if there is no such round, or nothing to judge.
    """
    store = RunStore.open(run)
    done = set() if judged else {verdict.id for verdict in read_verdicts(verdict_folder(run))}
    answers = {id: row for id, row in _answers(store, _rounds(store, round, judged)).items() if id not in done}
    if not answers:
        raise ConfigError("every completion has a verdict", where=str(run), remedy="Continue the run with --resume.")
    return [
        {
            "id": id,
            "prompt": [dict(message) for message in prompt.messages],
            "tools": json.loads(prompt.tools or "[]"),
            "reference": prompt.reference,
            "answer": text,
        }
        for id, (prompt, text) in sorted(answers.items())
    ]


def _rounds(store: RunStore, round: int | None, judged: bool) -> list[int]:
    sampled = sorted(index for index, step in store.entries if step == "sample")
    chosen = [index for index in sampled if round in (None, index)]
    if not chosen:
        raise ConfigError(
            "no completions are stored" if round is None else f"round {round} has no completions",
            where=str(store.folder),
            remedy=f"Rounds that have: {', '.join(map(str, sampled)) or 'none'}.",
        )
    waiting = chosen if judged else [index for index in chosen if store.entry(index, "judge") is None]
    if not waiting:
        raise ConfigError("nothing waits to be judged", where=str(store.folder), remedy="Add --all for what is judged.")
    return waiting


def _answers(store: RunStore, rounds: Iterable[int]) -> dict[str, tuple[Prompt, str]]:
    groups = [scored.group for index in rounds for scored in store.load(index, "sample", read_groups)]
    return {completion_id(g.prompt, c.text): (g.prompt, c.text) for g in groups for c in g.completions}


# ---------------------------------------------------------------- back


def import_verdicts(file: Path, run: Path, *, judge: str | None = None) -> Imported:
    """Keep the file's verdicts with the run; `judge` is who judged where a row does not say. All rows, or none.

    Raises ConfigError, naming the line, for a row that matches no completion of the run or another text than it, a
    value outside [0, 1], nobody who judged, and a second verdict by the same judge that disagrees with the first.
    """
    store = RunStore.open(run)
    with store.lock():
        answers = _answers(store, sorted(index for index, step in store.entries if step == "sample"))
        kept = {(verdict.id, verdict.judge): verdict for verdict in read_verdicts(verdict_folder(run))}
        before, known = len(kept), 0
        for where, row in read_jsonl(file):
            verdict = _verdict(where, row, judge, answers, run)
            old = kept.setdefault((verdict.id, verdict.judge), verdict)
            if old.value != verdict.value:
                raise ConfigError(
                    f"{verdict.judge} says {verdict.value} of {verdict.id}, and has said {old.value}",
                    where=where,
                    remedy="Leave out one of the two, here or in the run's verdicts.",
                )
            known += old is not verdict
        make_folder(verdict_folder(run))
        write_text(verdict_folder(run) / "verdicts.jsonl", as_jsonl(asdict(kept[key]) for key in sorted(kept)))
        waiting = _answers(store, (i for i, step in store.entries if step == "sample" and not store.entry(i, "judge")))
    missing = waiting.keys() - {id for id, _ in kept}
    return Imported(run, len(kept) - before, known, len(missing), len(waiting))


def _verdict(
    where: str, values: dict[str, Any], judge: str | None, answers: dict[str, tuple[Prompt, str]], run: Path
) -> Verdict:
    row = validate(_Row, values, where=where)
    if row.id not in answers:
        remedy = "Import it into the run that it was exported from."
        raise ConfigError(f"id {row.id!r} is that of no completion of {run}", where=where, remedy=remedy)
    if row.answer not in (None, answers[row.id][1]):
        remedy = "Judge the rows as they were exported."
        raise ConfigError(f"the answer is not the one that id {row.id!r} stands for", where=where, remedy=remedy)
    who = row.judge or judge
    if who is None:
        raise ConfigError("it does not say who judged", where=where, remedy='Write "judge", or give --judge NAME.')
    return Verdict(row.id, row.value, who, row.explanation or "")


def run_of(file: Path, runs: Path) -> Path:
    """The run in `runs` whose completions the file's verdicts are of. Raises ConfigError if none is, or several are."""
    first = next(read_jsonl(file), None)
    if first is None:
        raise ConfigError("it holds no row", where=str(file), remedy="Write a verdict a line.")
    where, values = first
    row = validate(_Row, values, where=where)
    found = [path.parent for path in sorted(runs.glob("*/run.json")) if row.id in _ids(path.parent)]
    if len(found) != 1:
        several = f"several runs: {', '.join(str(folder) for folder in found)}"
        raise ConfigError(
            f"id {row.id!r} is that of a completion of {several if found else f'no run in {runs}'}",
            where=where,
            remedy="Name the run with --run.",
        )
    return found[0]


def _ids(run: Path) -> set[str]:
    try:
        store = RunStore.open(run)
    except StoreError:  # damaged, or of another version: `harness runs` says so, and it is not the one looked for
        return set()
    return set(_answers(store, (index for index, step in store.entries if step == "sample")))


# ---------------------------------------------------------------- kept


def read_verdicts(path: Path) -> list[Verdict]:
    """The verdicts of a file, or of a folder's .jsonl files; none where nothing is. Raises HarnessError if damaged."""
    files: Sequence[Path] = sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.exists() else []
    verdicts: dict[tuple[str, str], Verdict] = {}
    for where, row in (found for file in files for found in read_jsonl(file)):
        stored = validate(_Row, row, where=where)
        if stored.judge is None:
            raise HarnessError("it does not say who judged", where=where, remedy="Write it with harness judge import.")
        verdict = Verdict(stored.id, stored.value, stored.judge, stored.explanation or "")
        if verdicts.setdefault((stored.id, stored.judge), verdict).value != verdict.value:
            raise HarnessError(
                f"{stored.judge} says two things of {stored.id}", where=where, remedy="Leave out one of the two."
            )
    return list(verdicts.values())
