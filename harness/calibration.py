"""What is known of a judge's agreement with people: written by an audit, to be held against what a gate asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.config import LoopConfig
from harness.durable import write_text
from harness.errors import ConfigError, StoreError
from harness.evaluation import suite_fingerprint
from harness.independence import is_deterministic, uses_for
from harness.plugins import Registry
from harness.protocols import Suite


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


def require_calibrated(suites: Sequence[Suite], config: LoopConfig, registry: Registry) -> None:
    """Raises ConfigError for a judge of the evaluation, other than a rule, whose agreement with people is not known to
    reach `gate.min_kappa` under the very settings that it evaluates with."""
    least = config.gate.min_kappa
    if least is None:
        return
    known = [one for path in config.gate.calibrations for one in read_calibrations(path)]
    for suite in (suite for suite in suites if suite.role != "monitor"):
        fingerprint = suite_fingerprint(suite, registry, config.eval)
        for use in uses_for(suite, "eval"):
            if use.weight == 0 or is_deterministic(use, registry):
                continue
            where = f"suite {suite.name}, judge {use.name}"
            of_judge = [one for one in known if one.judge == use.name]
            fitting = [one for one in of_judge if one.fingerprint == fingerprint and one.kappa is not None]
            if not fitting:
                what = "was audited under other settings or on other items" if of_judge else "was never audited"
                raise ConfigError(
                    f"it {what}, and gate.min_kappa asks for a kappa of {least:g}",
                    where=where,
                    remedy="Audit it: harness audit RUN --suite NAME, and name the summary in gate.calibrations.",
                )
            best = max(fitting, key=lambda one: one.n)
            if best.lower is not None and best.lower < least:
                raise ConfigError(
                    f"its kappa with people is {best.kappa:.2f}, at least {best.lower:.2f} ({best.source}, {best.n} "
                    f"pairs), and gate.min_kappa = {least:g} is not shown",
                    where=where,
                    remedy="Audit more pairs, or take another judge for evidence.",
                )
