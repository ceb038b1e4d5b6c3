"""Every suite that is registered is held to what `harness suites validate --all` checks."""

from __future__ import annotations

import pytest

from harness.plugins import load_registry
from harness.suite_checks import Finding, validate_suites

REGISTRY = load_registry(third_party=False)
NAMES = REGISTRY.names("suite")


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    """Of all of them together, so that none trains on what another holds out."""
    return validate_suites(NAMES, registry=REGISTRY)


@pytest.mark.parametrize("name", NAMES)
def test_it_has_no_errors_and_nothing_is_left_unsaid(findings: list[Finding], name: str) -> None:
    own = [finding for finding in findings if finding.suite == name]
    assert [finding for finding in own if finding.verdict == "error"] == []
    assert {finding.check for finding in own} == {"schema", "duplicates", "overlap", "judges", "oracle", "degenerate"}
