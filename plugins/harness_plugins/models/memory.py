"""Giving memory back between the steps of a round, which need it one after the other."""

from __future__ import annotations

import ctypes
import gc

import torch


def release() -> None:
    """Collect garbage, and return what is free to the device and to the system.

    glibc keeps what is freed between blocks in use, and the sampler in another process cannot have it: without this
    the default loop grew from round to round.
    """
    gc.collect()
    torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, other C libraries do not
    if trim is not None:
        trim(0)
