"""Every suite that is registered is held to what `harness suites validate --all` checks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.plugins import load_registry
from harness.protocols import RunContext
from harness.suite_checks import Finding, validate_suites
from harness.types import digest

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


def digest_of_prompts() -> str:
    suites = [REGISTRY.create("suite", name, {}, RunContext()) for name in NAMES]
    return digest([[p.id, p.hash, p.cluster] for suite in suites for p in (*suite.items, *suite.train)])


def test_the_prompts_do_not_depend_on_the_process() -> None:
    """The order of sets of strings is another in each process."""
    folders = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", "import test_every_suite as t; print(t.digest_of_prompts())"]
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": folders}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == digest_of_prompts()
