"""Wrong tool calls from a file of right ones, or from a suite's training prompts."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.api import find_suite
from harness.data.negatives import NegativesConfig, Tally, negatives, of_suite
from harness.data.record import Record
from harness.data.row_files import good_records, line_of, require_writable, write_lines
from harness.errors import ConfigError
from harness.judging import Bench, seat_judges
from harness.plugins import Registry
from harness.protocols import RunContext, Suite
from harness.suites import MANIFEST

JUDGE = "tool_call"
"""Of files, which bring no judges. Of a suite its own judges decide."""


@dataclass(frozen=True)
class NegativesReport:
    """What was written."""

    source: str
    rows: int
    tally: Tally

    def as_json(self) -> dict[str, Any]:
        return {"source": self.source, "rows": self.rows, **asdict(self.tally)}


def negative_file(
    source: str, out: Path, config: NegativesConfig, registry: Registry, context: RunContext
) -> NegativesReport:
    """Write rows with wrong answers beside right ones to `out`. Raises ConfigError before anything is written, also
    where no wrong answer could be made."""
    require_writable(out)
    records, suite = file_or_suite(source, registry, context)
    if suite is None:
        bench = Bench({JUDGE: registry.create("judge", JUDGE, {}, context)}, {JUDGE: 1.0})
    else:
        bench = seat_judges(suite, "eval", registry, context)
    tally = Tally()
    with closing(bench), context.progress.task("mutate and judge") as advance:
        lines = []
        for record in negatives(records, bench, config, tally):
            lines.append(line_of(record))
            advance()
    if not lines:
        raise ConfigError(
            f"of {tally.prompts} prompts {tally.unreadable} have no right tool calls to make wrong ones from, "
            f"{tally.refused} have calls that are not right, and no mutant of the others is wrong",
            where=source,
            remedy="Give prompts with tools and answers that call them, or more --kinds.",
        )
    write_lines(out, lines)
    return NegativesReport(source, len(lines), tally)


def file_or_suite(source: str, registry: Registry, context: RunContext) -> tuple[Iterable[Record], Suite | None]:
    """The rows of a file, or the training prompts of a suite with their references, and the suite."""
    path = Path(source)
    if path.is_file() or (path.suffix and not (path / MANIFEST).is_file()):
        return good_records(source), None
    suite = find_suite(source, registry, context)
    if not suite.train:
        raise ConfigError(
            "it has no training prompts, and what it holds out is never trained on",
            where=f"suite {source}",
            remedy="Name another suite, or a file.",
        )
    return of_suite(suite.train, source), suite
