"""The built-in suites, registered as any third party's would be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.hookspecs import hookimpl
from harness.specs import SuiteSpec
from harness.suites import folder_spec

_HERE = Path(__file__).parent


@hookimpl
def harness_register_suites() -> Iterable[SuiteSpec]:
    tasks = ("tool_calls", "tool_calls_live", "structured_output", "grounded_qa", "instruction_following", "chat")
    kept = ("general", "refusal", "over_refusal", "jailbreak", "incidents")
    return [folder_spec(_HERE / name) for name in tasks + kept]
