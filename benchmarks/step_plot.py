"""Step curves as text: what stands at which minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 72, 16


def plot(arms: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Accuracy (up) by minutes of training (right): capital letters are points, small ones what stands until the
    next."""
    end = max(point["seconds"] for points in arms.values() for point in points) or 1.0
    top = max(point["accuracy"] for points in arms.values() for point in points) or 1.0
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    for mark, points in zip("ABCDEFGH", arms.values(), strict=False):
        places = [
            (round(p["seconds"] / end * (WIDTH - 1)), HEIGHT - 1 - round(p["accuracy"] / top * (HEIGHT - 1)))
            for p in sorted(points, key=lambda p: p["seconds"])
        ]
        for (x, y), (until, _) in zip(places, [*places[1:], (WIDTH, 0)], strict=True):
            for column in range(x + 1, until):
                if grid[y][column] == " ":
                    grid[y][column] = mark.lower()
            grid[y][x] = mark
    scale = [f"{top * (HEIGHT - 1 - y) / (HEIGHT - 1):6.1%} |" for y in range(HEIGHT)]
    keys = ", ".join(f"{mark} {name}" for mark, name in zip("ABCDEFGH", arms, strict=False))
    lines = [side + "".join(line) for side, line in zip(scale, grid, strict=True)]
    return "\n".join([*lines, " " * 7 + "+" + "-" * WIDTH, f"{'':8}0{end / 60:>{WIDTH - 5}.1f} min", f"{'':8}{keys}"])
