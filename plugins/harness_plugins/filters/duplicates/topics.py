"""`topic_balance`: no topic may have more than its share. Of a policy's own samples it guards against mode collapse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from harness.data.record import Flaw, Record
from harness.protocols import RunContext
from harness.types import canonical_json
from harness_plugins.filters.duplicates.embedding import Embedder, Vectors
from harness_plugins.filters.duplicates.kmeans import centres, nearest
from harness_plugins.filters.duplicates.settings import TopicConfig
from harness_plugins.filters.duplicates.shingles import Ints

_DIGEST = 8
_FITTED = 20_000
_SMALL_CLUSTERS = 200
"""The most that k-means makes before those of one subject are put together."""
_PIECES = 4
"""Small clusters a topic, at least, where the number of topics is given."""
_SAME_SUBJECT = 0.4
"""Least mean cosine between the centres of clusters of one subject: holds one function's calls together, and keeps
the subjects of encyclopaedic questions apart."""


class TopicBalance:
    """Topics are clusters of the meaning of what is asked (of what is answered, where nothing is). k-means makes small
    ones, and average linkage puts those of one subject together: by itself k-means would cut a mode that has
    collapsed into as many pieces as it is told to make, each within the cap.

    Over the cap records go at random, by a digest of what they say: those that stay do so when others are added.
    """

    def __init__(self, config: TopicConfig, context: RunContext) -> None:
        self.config = config
        self.embedder = None if config.column else Embedder(config, context)
        self._figures: dict[str, float] = {}

    def sketch(self, record: Record) -> bytes:
        return self.sketches([record])[0]

    def sketches(self, records: Sequence[Record]) -> list[bytes]:
        """A digest of 8 bytes, and a vector in half precision or the name of the topic; empty where there is none."""
        if self.embedder is None:
            topics = [self._named(record) for record in records]
        else:
            texts = [record.asked.strip() or record.text.strip() for record in records]
            vectors, _ = self.embedder.embed(texts)
            topics = [vector.tobytes() if text else b"" for text, vector in zip(texts, vectors, strict=True)]
        return [self._digest(record) + topic if topic else b"" for record, topic in zip(records, topics, strict=True)]

    def survey(self, sketches: Sequence[bytes]) -> Mapping[int, Flaw]:
        placed = [index for index, sketch in enumerate(sketches) if sketch]
        cap = self.config.cap
        limit = math.ceil(cap * len(placed)) if cap < 1 else int(cap)
        before = self._topics([sketches[index] for index in placed])
        flaws: dict[int, Flaw] = {}
        for topic in np.unique(before):
            members = np.flatnonzero(before == topic)
            if len(members) > limit:
                ordered = sorted((sketches[placed[at]][:_DIGEST], placed[at]) for at in members)
                detail = f"{len(members)} of {len(placed)} records are of its topic, {limit} may be"
                flaws |= {index: Flaw("over_represented", detail) for _, index in ordered[limit:]}
        after = before[[index not in flaws for index in placed]]
        self._figures = {
            "topics": float(len(np.unique(before))),
            **_spread(before, "before"),
            **_spread(after, "after"),
        }
        return dict(sorted(flaws.items()))

    def figures(self) -> Mapping[str, float]:
        return self._figures

    def _topics(self, sketches: Sequence[bytes]) -> Ints:
        """The number of each record's topic."""
        if self.config.column or not sketches:
            numbers: dict[bytes, int] = {}
            return np.array([numbers.setdefault(sketch[_DIGEST:], len(numbers)) for sketch in sketches], dtype=np.int64)
        vectors_N_D = np.array([np.frombuffer(sketch[_DIGEST:], dtype=np.float16) for sketch in sketches])
        fitted = sorted(range(len(sketches)), key=lambda at: sketches[at][:_DIGEST])[:_FITTED]
        small = min(_SMALL_CLUSTERS, max(2, math.isqrt(len(sketches))))
        if self.config.topics != "auto":
            small = max(small, _PIECES * self.config.topics)
        centres_K_D = centres(vectors_N_D[fitted].astype(np.float32), small, self.config.seed)
        return self._subjects(centres_K_D)[nearest(vectors_N_D, centres_K_D, 1)[:, 0]]

    def _subjects(self, centres_K_D: Vectors) -> Ints:
        """The topic of each small cluster."""
        if len(centres_K_D) == 1:
            return np.zeros(1, dtype=np.int64)
        tree = linkage(centres_K_D, "average", metric="cosine")
        if self.config.topics == "auto":
            return np.asarray(fcluster(tree, 1 - _SAME_SUBJECT, "distance"), dtype=np.int64)
        return np.asarray(fcluster(tree, self.config.topics, "maxclust"), dtype=np.int64)

    def _named(self, record: Record) -> bytes:
        name = record.extra.get(self.config.column, record.prompt.metadata.get(self.config.column))
        return b"" if name is None else canonical_json(name).encode()

    def _digest(self, record: Record) -> bytes:
        said = [self.config.seed, record.prompt.question, [answer.text for answer in record.answers]]
        return blake2b(canonical_json(said).encode(), digest_size=_DIGEST).digest()


def _spread(topics: Ints, when: str) -> dict[str, float]:
    """The largest share of a topic, and the entropy of the shares over that of equal ones: 1 is balanced."""
    share = np.unique(topics, return_counts=True)[1] / max(1, len(topics))
    if not len(share):
        return {}
    entropy = float(-(share * np.log(share)).sum() / math.log(len(share))) if len(share) > 1 else 0.0
    return {f"largest_share_{when}": float(share.max()), f"entropy_{when}": entropy}
