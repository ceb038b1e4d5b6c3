"""A number within bounds, and what it is worth outside them."""

from __future__ import annotations

from typing import Literal

Side = Literal["below", "within", "above"]


def within(number: float, low: float | None, high: float | None, falloff: float) -> tuple[float, Side]:
    """1 within the bounds (inclusive); d outside them it is max(0, 1 - d / falloff), or 0 without a falloff."""
    below = low - number if low is not None else 0.0
    above = number - high if high is not None else 0.0
    off = max(below, above)
    if off <= 0:
        return 1.0, "within"
    return (1 - off / falloff if off < falloff else 0.0), "below" if below > 0 else "above"
