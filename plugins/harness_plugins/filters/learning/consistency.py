"""Preferences that contradict each other, and how many labels may be flipped.

Answers are nodes, and a pair is an edge from the chosen to the rejected. All edges between two answers that are each
preferred to the other are dropped: either way may be the wrong one. Of what is left, every edge within a strongly
connected component lies on a cycle (Tarjan 1972), and which of the cycle's edges is wrong cannot be told from the data,
so all of them are dropped. Pairs that say the same again are no contradiction.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.record import Answer, Flaw, Record
from harness.label_noise import Noise, predicted_bound, reference_noise, repeat_noise
from harness.overlap import words_of
from harness.protocols import RunContext
from harness.tools import parse_calls
from harness.types import Prompt, canonical_json
from harness_plugins.filters.learning.configs import ConsistencyConfig

FEATURES = 4
ROWS = 20_000
"""Prompts at most that the bound of the noise is taken from: more would not narrow it."""
FOLDS = 5
_SKETCH = struct.Struct(f"<cQQQb{FEATURES}f")
_DTYPE = np.dtype(
    [("kind", "S1"), ("prompt", "<u8"), ("one", "<u8"), ("other", "<u8"), ("sign", "i1"), ("x", "<f4", (FEATURES,))]
)
_NOTHING = (0.0,) * FEATURES


class ConsistencyFilter:
    """Surveys pairs, labels and groups; of other records it says nothing."""

    def __init__(self, config: ConsistencyConfig, context: RunContext) -> None:
        self._config = config
        self._figures: dict[str, float] = {}

    def sketch(self, record: Record) -> bytes:
        """One _SKETCH: what it is (a pair, a good or bad label, a tie, nothing), its prompt, its answers, what its
        scores say (1: the chosen is the better), and the pair's features."""
        asked = canonical_json([list(map(dict, record.prompt.messages)), record.prompt.tools])
        nodes = [_node(asked, answer) for answer in record.answers]
        kind, sign, x = b"-", 0, _NOTHING
        if record.kind == "pair" and len(nodes) == 2:
            margin = _margin(record.extra)
            close = margin is not None and abs(margin) < self._config.min_margin
            kind = b"t" if nodes[0] == nodes[1] or close else b"p"
            scored = {"score_chosen", "score_rejected"} <= record.extra.keys() and margin is not None
            sign = (margin > 0) - (margin < 0) if scored and margin is not None else 0
            x = _features(record.prompt, record.answers)
        elif record.kind == "label" and len(nodes) == 1 and record.answers[0].worth is not None:
            kind = b"g" if record.answers[0].worth >= 0.5 else b"b"
        elif record.kind == "group":
            known = [answer.worth for answer in record.answers if answer.worth is not None]
            kind = b"t" if len(known) > 1 and max(known) - min(known) < self._config.min_margin else b"-"
        one, other = (*nodes, 0, 0)[:2]
        return _SKETCH.pack(kind, _hash(asked), one, other, sign, *x)

    def survey(self, sketches: Sequence[bytes]) -> Mapping[int, Flaw]:
        rows = np.frombuffer(b"".join(sketches), dtype=_DTYPE)
        pairs, labels = np.flatnonzero(rows["kind"] == b"p"), np.flatnonzero(np.isin(rows["kind"], [b"g", b"b"]))
        flaws = {
            int(at): Flaw("tie", "equal answers or nearly equal scores") for at in np.flatnonzero(rows["kind"] == b"t")
        }
        flaws.update(_contradicting_labels(rows, labels))
        both, votes = _two_way(rows, pairs)
        for at, other in both:
            flaws[at] = Flaw("contradiction", "the same two answers, the other way round", other=other)
        left = pairs[~np.isin(pairs, np.array([at for at, _ in both], dtype=np.int64))]
        for at, other, size in _cycles(rows, left):
            flaws[at] = Flaw("cycle", f"{size} answers, each preferred to another in a circle", other=other)
        self._figures = self._noise(rows, pairs, votes)
        return dict(sorted(flaws.items()))

    def figures(self) -> Mapping[str, float]:
        """`noise`, `noise_lower`, `noise_upper` and `noise_pairs`, where repeated pairs or the scores of a reference
        identify the share of flipped labels; `noise_at_most`, where features of the answers bound it."""
        return self._figures

    def _noise(self, rows: NDArray[Any], pairs: NDArray[np.int64], votes: _Votes) -> dict[str, float]:
        signs, prompts = rows["sign"][pairs], rows["prompt"][pairs]
        noise: Noise | None = None
        if self._config.reference_error is not None:
            judged = signs != 0
            names = [str(name) for name in prompts[judged]]
            noise = reference_noise(list(signs[judged] > 0), names, error=self._config.reference_error)
        elif any(one and other for one, other in votes[0]):  # labels that all agree may be copies of one another
            noise = repeat_noise(*votes)
        figures = {}
        if noise is not None:
            figures = {
                "noise": noise.rate,
                "noise_lower": noise.lower,
                "noise_upper": noise.upper,
                "noise_pairs": float(noise.n),
            }
        _, first = np.unique(prompts, return_index=True)
        first = first[:ROWS]  # in the order of hashes: a random share of the prompts
        x_N_K = rows["x"][pairs][first].astype(float)
        x_N_K = x_N_K[:, x_N_K.any(axis=0)]
        bound = None
        if x_N_K.shape[1] and len(x_N_K) >= 10 * FOLDS:
            bound = predicted_bound(x_N_K, (prompts[first] % FOLDS).tolist())
        return figures if bound is None else {**figures, "noise_at_most": bound}


# ---------------------------------------------------------------- of one record


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())


def _node(asked: str, answer: Answer) -> int:
    """An answer to its prompt, up to white space."""
    return _hash(f"{asked}\0{' '.join(answer.text.split())}")


def _margin(extra: Mapping[str, Any]) -> float | None:
    """By how much the chosen is the better, as the record's columns say."""
    margin, chosen, rejected = (_number(extra.get(name)) for name in ("margin", "score_chosen", "score_rejected"))
    if chosen is not None and rejected is not None:
        return chosen - rejected
    return margin


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None


def _features(prompt: Prompt, answers: Sequence[Answer]) -> tuple[float, ...]:
    """Of the chosen less those of the rejected: log of the length; share of the words that the prompt has; for tools,
    whether it is calls, and calls of none but these tools."""
    asked = set(words_of(str(prompt.messages[-1].get("content") or ""))) if prompt.messages else set()
    chosen, rejected = (tuple(_described(asked, prompt.tools, answer.text)) for answer in answers)
    return tuple(a - b for a, b in zip(chosen, rejected, strict=True))


def _described(asked: set[str], tools: str, text: str) -> Iterator[float]:
    words = words_of(text)
    yield math.log1p(len(text))
    yield sum(word in asked for word in words) / max(1, len(words))
    try:
        names = {call.name for call in parse_calls(text)} if tools else None
    except ValueError:
        names = None
    yield float(names is not None)
    yield float(names is not None and all(f'"{name}"' in tools for name in names))


# ---------------------------------------------------------------- of all of them

_Votes = tuple[list[tuple[int, int]], list[str]]


def _contradicting_labels(rows: NDArray[Any], labels: NDArray[np.int64]) -> Iterator[tuple[int, Flaw]]:
    _, node = np.unique(rows["one"][labels], return_inverse=True)
    good = rows["kind"][labels] == b"g"
    firsts = [_firsts(node[side], labels[side], len(labels)) for side in (good, ~good)]
    for at, number, is_good in zip(labels, node, good, strict=True):
        other = int(firsts[int(is_good)][number])
        if other >= 0:
            yield int(at), Flaw("contradiction", f"found {'bad' if is_good else 'good'} as well", other=other)


def _firsts(groups: NDArray[np.int64], indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Of each of `count` groups the first index, -1 if it has none."""
    first = np.full(count, -1, dtype=np.int64)
    first[groups[::-1]] = indices[::-1]
    return first


def _two_way(rows: NDArray[Any], pairs: NDArray[np.int64]) -> tuple[list[tuple[int, int]], _Votes]:
    """Each pair with the first that says the opposite; and of every two answers that are labelled more than once, how
    often either way, with their prompts."""
    ends = np.stack([rows["one"][pairs], rows["other"][pairs]], axis=1)
    forward = ends[:, 0] < ends[:, 1]
    ends.sort(axis=1)
    _, start, edge = np.unique(ends, axis=0, return_index=True, return_inverse=True)
    edge = edge.reshape(-1)
    ways = [np.bincount(edge[side], minlength=len(start)) for side in (forward, ~forward)]
    firsts = [_firsts(edge[side], pairs[side], len(start)) for side in (forward, ~forward)]
    against = np.where(forward, firsts[1][edge], firsts[0][edge])
    both = [(int(at), int(other)) for at, other in zip(pairs, against, strict=True) if other >= 0]
    again = np.flatnonzero(ways[0] + ways[1] > 1)
    votes = list(zip(ways[0][again].tolist(), ways[1][again].tolist(), strict=True))
    return both, (votes, [str(name) for name in rows["prompt"][pairs[start[again]]]])


def _cycles(rows: NDArray[Any], pairs: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Of each pair in a strongly connected component: itself, one that prefers another answer to its chosen, and how
    many answers the component has."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, node = np.unique(np.concatenate([rows["one"][pairs], rows["other"][pairs]]), return_inverse=True)
    one, other = node[: len(pairs)], node[len(pairs) :]
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (one, other)), shape=(len(names), len(names)))
    _, component = connected_components(graph.tocsr(), directed=True, connection="strong")
    inside = component[one] == component[other]
    sizes = np.bincount(component, minlength=1)
    into = _firsts(other[inside], pairs[inside], len(names))
    for at, chosen in zip(pairs[inside], one[inside], strict=True):
        yield int(at), int(into[chosen]), int(sizes[component[chosen]])
