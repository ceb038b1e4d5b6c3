"""The built-in judges as a plugin."""

from __future__ import annotations

import subprocess
import sys

from harness.plugins import load_registry
from harness.protocols import RunContext

NAMES = {"tool_call", "json_schema", "exact", "regex", "length", "repetition"}


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness_judges.plugin import harness_register_judges as register; "
        "assert {spec.name for spec in register()} >= set(sys.argv[1:]); "
        "print(*{'torch', 'transformers', 'scipy', 'numpy', 'jsonschema', 'vllm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *NAMES], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_judge_is_deterministic_described_and_can_be_made_by_the_registry() -> None:
    registry = load_registry()
    configs = {"length": {"max": 3}}
    for name in NAMES:
        spec = registry.get("judge", name).spec
        assert spec.deterministic
        assert spec.summary
        judge = registry.create("judge", name, configs.get(name, {}), RunContext(), where="test")
        assert judge.score([]) == []
