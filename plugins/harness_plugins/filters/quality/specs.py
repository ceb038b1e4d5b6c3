"""What this package registers. Nothing heavy is imported until a filter is made."""

from __future__ import annotations

from harness.specs import FilterSpec

SPECS: tuple[FilterSpec, ...] = ()
