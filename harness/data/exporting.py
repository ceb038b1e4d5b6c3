"""Training data written for others: records as rows of a format, and what became of those that it cannot hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO

from harness.data.formats import FORMATS, Row, Take, UnfitError, format_rows, table_columns, taken
from harness.data.reading import BadRow
from harness.data.record import Record
from harness.data.writing import TABLES, WRITERS, Shape, moved_to, require_datasets
from harness.errors import ConfigError
from harness.jsonl import require_absent


@dataclass(frozen=True)
class ExportPlan:
    """What is written, and how. `plain`: text where the format has both text and messages."""

    out: Path
    format: str
    shape: Shape = "jsonl"
    plain: bool = False
    takes: tuple[Take, ...] = ()
    rejects: Path | None = None
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not written, and why. `raw` is how it begins, where it could not be read."""

    source: str
    place: int
    reason: str
    detail: str
    raw: str = ""


@dataclass
class Exported:
    """What was done. Rows can be more than records: a pair is two rows of `trl-kto`."""

    records: int = 0
    rows: int = 0
    without_answer: int = 0
    """Records of which no answer could be taken: a label that says bad, a group in which nothing is worth anything."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Rows that could not be read, and records that the format cannot hold, by reason."""
    first: Reject | None = None

    @property
    def read(self) -> int:
        return self.records + self.without_answer + sum(self.rejected.values())

    def reject(self, row: Reject) -> None:
        self.first = self.first or row
        self.rejected[row.reason] = self.rejected.get(row.reason, 0) + 1


def export(items: Iterable[Record | BadRow], plan: ExportPlan) -> Exported:
    """Writes records as `plan` says.

    Raises ConfigError when something is there already, nothing can be written, or something cannot and that is not to
    be skipped; then only the rejects are written.
    """
    _require_possible(plan)
    done = Exported()
    with ExitStack() as stack:
        rejects = None
        if plan.rejects:
            rejects = stack.enter_context(stack.enter_context(moved_to(plan.rejects)).open("w", encoding="utf-8"))
        with moved_to(plan.out) as draft:
            _write(draft, _rows(items, plan, done, rejects), plan)
            if failure := _failure(done, plan):
                _remove(draft)
    if failure:
        raise failure
    return done


def _require_possible(plan: ExportPlan) -> None:
    require_absent(*filter(None, (plan.out, plan.rejects)))
    if plan.rejects and plan.rejects.resolve() == plan.out.resolve():
        raise ConfigError("it is the same file as --out", where="--rejects", remedy="Name another.")
    if plan.plain and not FORMATS[plan.format].plain:
        plain = ", ".join(name for name, format in FORMATS.items() if format.plain)
        raise ConfigError(f"{plan.format} has one layout", where="--standard", remedy=f"It goes with {plain}.")
    if unread := [take for take in plan.takes if "demonstration" not in FORMATS[plan.format].kinds]:
        raise ConfigError(f"{plan.format} holds no demonstrations", where=f"--take {unread[0]}", remedy="Leave it out.")
    if plan.shape == "datasets":
        require_datasets()


def _write(draft: Path, rows: Iterator[Row], plan: ExportPlan) -> None:
    first = next(rows, None)
    if first is not None:
        WRITERS[plan.shape](draft, chain([first], rows), table_columns(first, plan.format, plain=plan.plain))


def _rows(items: Iterable[Record | BadRow], plan: ExportPlan, done: Exported, rejects: IO[str] | None) -> Iterator[Row]:
    """What is to be written; what is not is counted in `done` and written to `rejects`."""
    columns: set[str] = set()
    for item in items:
        made = _made(item, plan, columns)
        if isinstance(made, Reject):
            done.reject(made)
            if rejects:
                rejects.write(json.dumps(asdict(made), ensure_ascii=False) + "\n")
            continue
        columns = columns or _needed(made, plan)
        done.records += bool(made)
        done.without_answer += not made
        done.rows += len(made)
        yield from made


def _made(item: Record | BadRow, plan: ExportPlan, columns: set[str]) -> list[Row] | Reject:
    """Rows of a record, none where no answer can be taken. They must have the columns that the file needs."""
    if isinstance(item, BadRow):
        return Reject(item.source, item.place, item.reason, item.detail, item.raw)
    one = taken(item, plan.takes)
    try:
        made = [] if one is None else format_rows(one, plan.format, plain=plan.plain)
    except UnfitError as error:
        return Reject(item.source, item.place, error.reason, str(error))
    if made and columns and _needed(made, plan) != columns:
        detail = f"a {item.kind} has other columns than the rows before it"
        return Reject(item.source, item.place, "mixed_columns", detail)
    return made


def _needed(rows: Sequence[Row], plan: ExportPlan) -> set[str]:
    """Columns that all rows of the file must have. Lines of a format that mixes rows need none."""
    format = FORMATS[plan.format]
    if not rows or (format.mixes and plan.shape not in TABLES):
        return set()
    return set(rows[0]) - set(format.always)


def _failure(done: Exported, plan: ExportPlan) -> ConfigError | None:
    if done.first is not None and (done.rows == 0 or not plan.skip_bad):
        why = ", ".join(f"{reason} ({count})" for reason, count in sorted(done.rejected.items()))
        return ConfigError(
            f"{sum(done.rejected.values())} of {done.read} rows cannot be written as {plan.format}: {why}. "
            f"The first says: {done.first.detail}",
            where=f"{done.first.source}:{done.first.place}",
            remedy="Mend them, or leave them out with --skip-bad." if done.rows else "Choose another format.",
        )
    if not done.rows:
        what = f"none of {done.read} records has an answer to take" if done.read else "there is no row to write"
        return ConfigError(what, where=str(plan.out), remedy="Name other data.")
    return None


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft)
    draft.unlink(missing_ok=True)
