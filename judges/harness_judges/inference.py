"""What judges that compute with a model have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any


def attention(folder: Path) -> dict[str, Any]:
    """How transformers is to load the model so that all of its attention is computed."""
    from transformers import AutoConfig

    settings = AutoConfig.from_pretrained(folder, local_files_only=True)
    # The other implementations leave the cap out.
    capped = getattr(settings.get_text_config(), "attn_logit_softcapping", None)
    return {"attn_implementation": "eager"} if capped else {}


def equal_lengths(sequences: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Places of up to `size` sequences of the same length, each place once, the short ones first.

    None needs padding, so what a sequence gets does not depend on which others are there.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for _, alike in groupby(order, key=lambda i: len(sequences[i])):
        places = list(alike)
        for start in range(0, len(places), size):
            yield places[start : start + size]
