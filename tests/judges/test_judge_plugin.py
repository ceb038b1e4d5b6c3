"""The built-in judges as a plugin."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from harness.plugins import load_registry
from harness.protocols import RunContext

EXACT = {"name": "exact"}
CONFIGS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("tool_call", "json_schema", "json_fields", "exact", "regex", "repetition")},
    **{name: {} for name in ("refusal", "grounded", "instructions", "incident")},
    "length": {"max": 3},
    "language": {"languages": ["en"]},
    "readability": {"max": 8},
    "format": {"no_markdown": True},
    "panel": {"members": [EXACT, {"name": "regex"}]},
    "cascade": {"stages": [{**EXACT, "high": 1.0}, {"name": "regex"}]},
}


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness_judges.plugin import harness_register_judges as register; "
        "assert {spec.name for spec in register()} >= set(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'scipy', 'numpy', 'jsonschema', 'vllm', 'py3langid', 'syllapy'}; "
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *CONFIGS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_rule_is_deterministic_described_and_can_be_made_by_the_registry() -> None:
    registry = load_registry()
    rules = {entry.spec.name for entry in registry.entries("judge") if entry.spec.deterministic}  # type: ignore[attr-defined]
    assert rules == set(CONFIGS)
    for name, config in CONFIGS.items():
        assert registry.get("judge", name).spec.summary
        judge = registry.create("judge", name, config, RunContext(components=registry), where="test")
        assert judge.score([]) == []
