"""The `length` filter: prompts and answers that are far longer or shorter than those beside them.

Lengths are skewed to the right, so they are compared as logarithms, by their median and median absolute deviation:
unlike mean and standard deviation these stay what they are when a few records are gigantic.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.data.record import Flaw, Record
from harness_plugins.filters.quality.configs import LengthConfig
from harness_plugins.filters.quality.text import prose, units

# Characters and words: of what is asked, of the shortest and of the longest answer that is to be learnt, and the places
# of these two; whether those are prose; of a pair the characters of the chosen and of the rejected answer.
_SKETCH = np.dtype(
    [
        ("prompt", "<u4", 2),
        ("shortest", "<u4", 2),
        ("longest", "<u4", 2),
        ("at_shortest", "<u4"),
        ("at_longest", "<u4"),
        ("pair", "<u4", 2),
        ("prose_shortest", "u1"),
        ("prose_longest", "u1"),
        ("has_answer", "u1"),
        ("is_pair", "u1"),
    ]
)
_PACK = struct.Struct("<10I4B")
_MOST = 2**32 - 1
_UNITS = ("characters", "words")

LEAST_DEVIATION = math.log(1.5)
"""Of the log length. Where lengths are all but equal, a few words more are nothing odd."""
INTERVAL = 0.95


class LengthFilter:
    """Prose and other answers (calls, JSON, code) are compared with their own kind. Only prose can be too short beside
    the others: `[]` is an answer."""

    def __init__(self, config: LengthConfig) -> None:
        self.config = config
        self.said: dict[str, float] = {}

    def sketch(self, record: Record) -> bytes:
        """44 bytes, however many answers there are."""
        sizes = [(*_size(a.text), index) for index, a in enumerate(record.answers) if a.worth != 0]
        shortest = min(sizes, default=(0, 0, 0))
        longest = max(sizes, key=lambda size: (size[0], -size[2]), default=(0, 0, 0))
        is_pair = record.kind == "pair" and len(record.answers) == 2
        chosen, rejected = (len(answer.text) for answer in record.answers) if is_pair else (0, 0)
        texts = [record.answers[at[2]].text if sizes else "" for at in (shortest, longest)]
        numbers = (*_size(record.asked), *shortest[:2], *longest[:2], shortest[2], longest[2], chosen, rejected)
        flags = (*(bool(prose(text)) for text in texts), bool(sizes), is_pair)
        return _PACK.pack(*(min(number, _MOST) for number in numbers), *flags)

    def survey(self, sketches: Sequence[bytes]) -> Mapping[int, Flaw]:
        """For each record the first of: over `max_chars`, under `min_answer`, an odd prompt, an odd answer."""
        seen = np.frombuffer(b"".join(sketches), _SKETCH)
        self.said = _bias(seen)
        answered, everyone = seen["has_answer"] == 1, np.ones(len(seen), bool)
        long, short = "too_long", "too_short"
        most, least = f"over {self.config.max_chars} characters", f"under {self.config.min_answer} characters"
        flaws: dict[int, Flaw] = {}
        for part in ("prompt", "longest"):
            _add(flaws, seen, seen[part][:, 0] > self.config.max_chars, part, long, most)
        _add(flaws, seen, answered & (seen["shortest"][:, 0] < self.config.min_answer), "shortest", short, least)
        for unit, name in enumerate(_UNITS):
            self._compare(flaws, seen, everyone, "prompt", unit, name)
            for is_prose in (1, 0):
                self._compare(flaws, seen, answered & (seen["prose_longest"] == is_prose), "longest", unit, name)
            self._compare(flaws, seen, answered & (seen["prose_shortest"] == 1), "shortest", unit, name)
        return dict(sorted(flaws.items()))

    def _compare(
        self,
        flaws: dict[int, Flaw],
        seen: np.ndarray[Any, Any],
        among_N: np.ndarray[Any, Any],
        part: str,
        unit: int,
        name: str,
    ) -> None:
        """Add those of these records whose part is odd."""
        lengths_N = np.where(among_N, seen[part][:, unit], 0)
        side = -1 if part == "shortest" else 1
        odd_N, median = outliers(lengths_N, side, self.config)
        detail = (
            f"{'fewer' if side < 0 else 'more'} {name} than others by far, of which half have {median:.0f} or fewer"
        )
        _add(flaws, seen, odd_N, part, "too_short" if side < 0 else "too_long", detail)

    def figures(self) -> Mapping[str, float]:
        """`pairs` whose answers differ in length; `chosen_longer`, the share of them in which the chosen is the longer
        one, with its 95% interval (Wilson); without such pairs nothing."""
        return self.said


def outliers(lengths_N: np.ndarray[Any, Any], side: int, config: LengthConfig) -> tuple[np.ndarray[Any, Any], float]:
    """Which lengths are far above (`side` 1) or below (-1) the median, and that median. Lengths of 0 do not count."""
    odd_N = np.zeros(len(lengths_N), bool)
    counted_N = lengths_N > 0
    logs_M = np.log(lengths_N[counted_N])
    if len(logs_M) < config.min_records:
        return odd_N, 0.0
    median = float(np.median(logs_M))
    deviation = max(1.4826 * float(np.median(np.abs(logs_M - median))), LEAST_DEVIATION)
    far_M = side * (logs_M - median) > config.deviations * deviation
    if far_M.mean() <= config.max_outliers:
        odd_N[counted_N] = far_M
    return odd_N, math.exp(median)


def _size(text: str) -> tuple[int, int]:
    """Characters and words; of a script without spaces between words, two characters to a word."""
    counted = units(text)
    words = len(counted)
    return len(text), words if words < len(text) / 2 else words // 2


def _add(
    flaws: dict[int, Flaw],
    seen: np.ndarray[Any, Any],
    which_N: np.ndarray[Any, Any],
    part: str,
    reason: str,
    detail: str,
) -> None:
    for index in np.flatnonzero(which_N).tolist():
        answer = None if part == "prompt" else int(seen[f"at_{part}"][index])
        flaws.setdefault(
            index, Flaw(reason, f"{'the prompt has' if answer is None else 'an answer has'} {detail}", answer=answer)
        )


def _bias(seen: np.ndarray[Any, Any]) -> dict[str, float]:
    pairs_M_2 = seen["pair"][seen["is_pair"] == 1].astype(np.int64)
    difference_M = pairs_M_2[:, 0] - pairs_M_2[:, 1]
    pairs, longer = int(np.count_nonzero(difference_M)), int(np.count_nonzero(difference_M > 0))
    if not pairs:
        return {}
    from scipy.stats import binomtest

    bounds = binomtest(longer, pairs).proportion_ci(INTERVAL, method="wilson")
    return {
        "pairs": float(pairs),
        "chosen_longer": longer / pairs,
        "chosen_longer_low": float(bounds.low),
        "chosen_longer_high": float(bounds.high),
    }
