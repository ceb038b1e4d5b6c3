"""What an audit shows of the judges: how far they agree with a person, and what a judged rate is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.agreement import Corrected, cohen_kappa, prediction_powered_mean
from harness.audit import Audit, Pair, outcome
from harness.audit_answers import Answers
from harness.calibration import Calibration, write_calibrations
from harness.statistics import Interval, share_interval

ALPHA = 0.025
"""Of each bound: the intervals of an audit are 95% ones."""
OUTCOMES = ("a", "b", "tie")
WIN = {"a": 1.0, "b": 0.0, "tie": 0.5}


@dataclass(frozen=True)
class JudgeAudit:
    """A judge against the person, on the `n` pairs of which both say something.

    `kappa` is None where it is not defined. Of a suite, `judged` is the rate at which the candidate beats the incumbent
    by this judge on all `judged_on` pairs (ties count half), and `corrected` that rate put right by the person.
    """

    judge: str
    n: int
    agreement: float | None
    kappa: Interval | None
    judged_on: int
    judged: Interval | None = None
    corrected: Corrected | None = None


@dataclass(frozen=True)
class AuditReport:
    """`a_share`: how often the person chose a, of the times that one was chosen; half, as sides are random, but for
    a liking of one side. `human`: of a suite, the candidate's win rate by the person alone."""

    name: str
    pairs: int
    answered: int
    skipped: int
    population: int
    a_share: Interval | None
    human: Interval | None
    judges: tuple[JudgeAudit, ...]


def report(audit: Audit, answers: Answers) -> AuditReport:
    """All figures, from what was answered so far. Skipped pairs count nowhere but in their number."""
    said = [(pair, answers.given[pair.id]) for pair in audit.pairs if answers.given.get(pair.id) in OUTCOMES]
    chosen = [(pair, answer) for pair, answer in said if answer != "tie"]
    judges = sorted({name for pair in audit.population for name in pair.scores})
    wins = [(pair, _win(pair, answer)) for pair, answer in said]
    return AuditReport(
        audit.name,
        pairs=len(audit.pairs),
        answered=len(said),
        skipped=sum(answer == "skip" for answer in answers.given.values()),
        population=len(audit.population),
        a_share=_mean([(pair, float(answer == "a")) for pair, answer in chosen]),
        human=_mean(wins) if audit.settings.suite is not None else None,
        judges=tuple(_judge(name, audit, said) for name in judges),
    )


def summarize(audit: Audit, found: AuditReport) -> list[Calibration]:
    """Write what a gate may ask of the judges beside the audit, and return it."""
    calibrations = [_calibration(judge, audit) for judge in found.judges]
    write_calibrations(audit.summary, calibrations)
    return calibrations


def _calibration(judge: JudgeAudit, audit: Audit) -> Calibration:
    kappa, source = judge.kappa, f"audit {audit.name}"
    if kappa is None:
        return Calibration(judge.judge, None, None, None, judge.n, source, audit.fingerprint)
    return Calibration(judge.judge, kappa.estimate, kappa.lower, kappa.upper, judge.n, source, audit.fingerprint)


def _judge(name: str, audit: Audit, said: Sequence[tuple[Pair, str]]) -> JudgeAudit:
    both = [(pair, answer, verdict) for pair, answer in said if (verdict := outcome(pair.values(name)))]
    clusters = [pair.cluster for pair, _, _ in both]
    kappa = cohen_kappa([(answer, verdict) for _, answer, verdict in both], clusters, OUTCOMES, alpha=ALPHA)
    agreement = sum(answer == verdict for _, answer, verdict in both) / len(both) if both else None
    judged = [(pair, _win(pair, verdict)) for pair in audit.population if (verdict := outcome(pair.values(name)))]
    found = JudgeAudit(name, len(both), agreement, kappa, len(judged))
    if audit.settings.suite is None or not both:  # siblings of a group have no first and second to win
        return found
    seen = {pair.id for pair, _, _ in both}
    rest = [(pair, guess) for pair, guess in judged if pair.id not in seen]
    corrected = prediction_powered_mean(
        [(_win(pair, answer), _win(pair, verdict)) for pair, answer, verdict in both],
        clusters,
        [guess for _, guess in rest],
        [pair.cluster for pair, _ in rest],
        alpha=ALPHA,
    )
    return JudgeAudit(name, len(both), agreement, kappa, len(judged), _mean(judged), corrected)


def _win(pair: Pair, verdict: str) -> float:
    """1 where the later of the two wins, 1/2 for a tie."""
    return WIN[verdict] if pair.swapped else 1.0 - WIN[verdict]


def _mean(values: Sequence[tuple[Pair, float]]) -> Interval | None:
    if not values:
        return None
    return share_interval([value for _, value in values], [pair.cluster for pair, _ in values], alpha=ALPHA)
