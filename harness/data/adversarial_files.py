"""Harder variants of the rows of a file, or of a suite's training prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field, field_validator

from harness.data.adversarial import KINDS, Kind, adversarial
from harness.data.negative_files import file_or_suite
from harness.data.record import Record
from harness.data.row_files import line_of, origin_of, require_writable, write_lines
from harness.errors import ConfigError, did_you_mean
from harness.plugins import Registry
from harness.protocols import RunContext
from harness.specs import Config

POOL = 500
"""Records that tools are borrowed from at most: enough to find other tools, and the time stays linear."""


class AdversarialConfig(Config):
    """Which variants are made."""

    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1, description=", ".join(KINDS))
    per_prompt: int = Field(default=1, ge=1, description="variants a row, of different kinds")
    seed: int = 0

    @field_validator("kinds", mode="before")
    @classmethod
    def _are_known(cls, kinds: Sequence[str]) -> Sequence[str]:
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"there is no kind {kind!r}. {did_you_mean(kind, list(KINDS))}")
        return tuple(dict.fromkeys(kinds))


@dataclass
class AdversarialReport:
    """What was written, by kind, and how many rows have no variant of any kind asked for."""

    source: str
    read: int = 0
    without: int = 0
    rows: int = 0
    written: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def adversarial_file(
    source: str, out: Path, config: AdversarialConfig, registry: Registry, context: RunContext
) -> AdversarialReport:
    """Write variants of the rows of `source` to `out`, and not the rows themselves. Raises ConfigError before anything
    is written, also where there is no variant."""
    require_writable(out)
    records, _ = file_or_suite(source, registry, context)
    known = list(records)
    pool = _pool(known, config.seed)
    report = AdversarialReport(source, read=len(known))
    lines = []
    for record in context.progress.track(known, description="variants"):
        made = list(_variants(record, config, pool))
        report.without += not made
        for kind, variant in made:
            report.written[kind] = report.written.get(kind, 0) + 1
            lines.append(line_of(variant))
    if not lines:
        raise ConfigError(
            f"none of its {len(known)} rows has a variant of kind {', '.join(config.kinds)}",
            where=source,
            remedy="Give questions, or prompts with tools and answers that call them; or more --kinds.",
        )
    write_lines(out, lines)
    report.rows = len(lines)
    return report


def _pool(records: Sequence[Record], seed: int) -> list[Record]:
    """Records of which no two have the same tools, in the order of the file where there are few."""
    tooled = list({record.prompt.tools: record for record in records if record.prompt.tools}.values())
    return tooled if len(tooled) <= POOL else Random(seed).sample(tooled, POOL)


def _variants(record: Record, config: AdversarialConfig, pool: Sequence[Record]) -> Iterator[tuple[Kind, Record]]:
    """Those of as many kinds as are asked for, in a random order of the prompt's own."""
    rng = Random(f"{config.seed} {record.prompt.question}")
    count = 0
    for kind in rng.sample(config.kinds, len(config.kinds)):
        if count < config.per_prompt and (made := adversarial(record, kind, rng, pool)) is not None:
            count += 1
            yield kind, replace(made, extra={**record.extra, "origin": origin_of(record), "variant": kind})
