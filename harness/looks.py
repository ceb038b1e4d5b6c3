"""Which of a suite's items a loop looks at, when: some in every round, the rest where those do not decide, and of the
target's some not before the end.

Clusters stay together, in an order that their names' hashes give: no part is a prefix, which in many suites is of one
kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from harness.gate import FIRST_LOOK, GateConfig
from harness.protocols import Suite
from harness.types import Prompt

FEWEST_FRESH = 50
"""Fewer fresh items could confirm nothing, so none are kept back."""


def measured(suite: Suite, limit: int | None) -> Suite:
    """The suite with the items that `eval.limit` leaves."""
    return suite if limit is None else replace(suite, items=suite.items[:limit])


def kept_back(suite: Suite, gate: GateConfig) -> tuple[Suite, Suite | None]:
    """The target as rounds see it, and as what they promote is confirmed on (None: with too few items, or none)."""
    fresh = _share(suite.items, gate.confirm, "confirm")
    if len(fresh) < FEWEST_FRESH or len(fresh) == len(suite.items):
        return suite, None
    taken = {item.id for item in fresh}
    return replace(suite, items=tuple(i for i in suite.items if i.id not in taken)), replace(suite, items=fresh)


def at_look(suite: Suite, look: int, gate: GateConfig) -> tuple[Prompt, ...]:
    """The items that are new at look 1 or 2. No failure may be missed at the first where none is allowed."""
    if gate.looks == 1 or suite.rule == "no_new_failures":
        return suite.items if look == 1 else ()
    first = _share(suite.items, FIRST_LOOK, "look")
    if look == 1:
        return first
    taken = {item.id for item in first}
    return tuple(item for item in suite.items if item.id not in taken)


def _share(items: Sequence[Prompt], share: float, salt: str) -> tuple[Prompt, ...]:
    """Whole clusters, until they hold `share` of the items; in the items' own order."""
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.cluster or item.id] = sizes.get(item.cluster or item.id, 0) + 1
    chosen: set[str] = set()
    count = 0
    for cluster in sorted(sizes, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest()):
        if count >= share * len(items):
            break
        chosen.add(cluster)
        count += sizes[cluster]
    return tuple(item for item in items if (item.cluster or item.id) in chosen)
