"""What a gate asks of its judges beside their verdicts: agreement with people, and with themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.calibration import Calibration, require_calibrated, write_calibrations
from harness.config import EvalConfig, LoopConfig, Stage
from harness.errors import ConfigError
from harness.evaluation import suite_fingerprint
from harness.gate import GateConfig, contradictory, gate
from harness.hookspecs import hookimpl
from harness.plugins import Origin, Registry, load_registry
from harness.protocols import JudgeUse, Suite
from harness.specs import JudgeSpec
from harness.types import EvalReport, ItemResult, Prompt, SuiteReport

ITEMS = tuple(Prompt(f"p{i}", ({"role": "user", "content": str(i)},)) for i in range(3))
SUITE = Suite("s", "1", "target", ITEMS, (JudgeUse("opinion", use="eval"), JudgeUse("exact", use="eval")))


@pytest.fixture
def registry() -> Registry:
    class Plugin:
        @hookimpl
        def harness_register_judges(self) -> Any:
            return [JudgeSpec("opinion", "a judge", lambda config, context: None)]  # type: ignore[arg-type, return-value]

    found = load_registry(third_party=False)
    found.add(Plugin(), Origin("test", "test", "1"))
    return found


def config(*paths: Path, least: float | None = 0.25) -> LoopConfig:
    return LoopConfig(suite="s", stages=[Stage(updater="sft")], gate=GateConfig(min_kappa=least, calibrations=paths))


def audited(path: Path, registry: Registry, **changes: Any) -> Path:
    fingerprint = suite_fingerprint(SUITE, registry, EvalConfig())
    known = Calibration("opinion", 0.6, 0.3, 0.9, 40, "audit-1", fingerprint)
    write_calibrations(path, [replace(known, **changes)])
    return path


def test_a_judge_is_evidence_when_it_agrees_with_people(registry: Registry, tmp_path: Path) -> None:
    good = audited(tmp_path / "good.json", registry)
    require_calibrated([SUITE], config(good), registry)
    require_calibrated([SUITE], config(least=None), registry)
    only_rules = replace(SUITE, judges=(JudgeUse("exact", use="eval"), JudgeUse("opinion", use="train")))
    require_calibrated([only_rules], config(), registry)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lower": 0.2}, r"is 0\.60, at least 0\.20 \(audit-1, 40 pairs\), and gate\.min_kappa = 0\.25 is not shown"),
        ({"kappa": None}, "was audited under other settings"),
        ({"fingerprint": "other"}, "was audited under other settings or on other items"),
        ({"judge": "another"}, "was never audited"),
    ],
)  # fmt: skip
def test_one_that_does_not_is_refused(changes: dict[str, Any], says: str, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"suite s, judge opinion: .*{says}"):
        require_calibrated([SUITE], config(audited(tmp_path / "a.json", registry, **changes)), registry)


def test_the_larger_audit_counts(registry: Registry, tmp_path: Path) -> None:
    small = audited(tmp_path / "small.json", registry, n=10)
    large = audited(tmp_path / "large.json", registry, n=100, lower=0.1)
    with pytest.raises(ConfigError, match="100 pairs"):
        require_calibrated([SUITE], config(small, large), registry)


def test_a_judge_that_contradicts_itself_decides_nothing() -> None:
    items = tuple(ItemResult(str(i), str(i), str(i), 1.0) for i in range(50))
    better = SuiteReport("s", "target", "f", items, judging={"judge/llm_pairwise/flip_rate": 0.4})
    worse = replace(better, items=tuple(replace(item, score=0.0) for item in items))
    before, after = EvalReport("a", (worse,)), EvalReport("b", (better,))
    assert gate(before, after, before).outcome == "promoted"
    decision = gate(before, after, before, GateConfig(max_flip_rate=0.3))
    assert decision.outcome == "invalid"
    assert "judge llm_pairwise contradicts itself in 40% of its comparisons on s" in decision.sentence
    assert contradictory(after, GateConfig(max_flip_rate=0.4)) == ""
