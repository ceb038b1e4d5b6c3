"""What is known of a judge's agreement with people: written by an audit, to be held against what a gate asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.durable import write_text
from harness.errors import StoreError


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge's kappa against people on `n` items, with 95% bounds; all three None where kappa is not defined.

    `source` names the audit. `fingerprint` is that of the measurement whose verdicts were audited (a suite's items,
    judges and decoding): of a judge under other settings this says nothing.
    """

    judge: str
    kappa: float | None
    lower: float | None
    upper: float | None
    n: int
    source: str
    fingerprint: str = ""


def write_calibrations(path: Path, calibrations: Sequence[Calibration]) -> None:
    write_text(path, json.dumps([asdict(calibration) for calibration in calibrations], indent=1) + "\n")


def read_calibrations(path: Path) -> list[Calibration]:
    """What an audit wrote. Raises StoreError if it is missing or damaged."""
    try:
        return [Calibration(**values) for values in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError) as error:
        remedy = "Write it again with `harness audit RUN --report`."
        raise StoreError(f"no summary of an audit ({error})", where=str(path), remedy=remedy) from None
