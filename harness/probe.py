"""Proof that a sampler serves the adapter it was told to load.

Every training loop has at some time sampled from yesterday's weights without an error. So each checkpoint carries a
probe, a token sequence with the log-probabilities that its trainer saw, and every swap is checked against it.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import StaleSamplerError
from harness.protocols import Generator
from harness.types import BASE_POLICY, AdapterCheckpoint

# Measured with a 135M model in bfloat16, adapters of four sizes: transformers with the adapter attached and vLLM with
# it merged differ by 0.05 to 0.09 nats a token, and any change of weights, however small, moves either by about
# 0.06, since it rounds anew. So the test that finds a stale sampler after a small update is that it does not move.
NOISE = 0.07
"""Mean absolute difference of two engines on the same weights, nats per token: twice as large a shift must be seen."""

TOLERANCE = 0.2
"""Largest mean absolute difference, nats per token, between the trainer's and the sampler's log-probabilities."""


def serve(
    generator: Generator, checkpoint: AdapterCheckpoint | None, *, before: AdapterCheckpoint | None
) -> dict[str, float]:
    """Make `generator` serve `checkpoint` (None: the base model) where it served `before`, and prove that it does.

    Returns `serve/probe_shift` (how far the served log-probabilities moved) and, if the checkpoint has a probe,
    `serve/probe_error` (how far they are from the trainer's): means of absolute differences, nats per token. Returns
    nothing when there is no probe or the generator holds no weights. Raises StaleSamplerError.
    """
    probe = checkpoint.probe if checkpoint else before.probe if before else None
    if probe is None:
        generator.load_adapter(checkpoint)
        return {}
    stale_T = generator.score_tokens(probe.token_ids)
    generator.load_adapter(checkpoint)
    served_T = generator.score_tokens(probe.token_ids)
    if stale_T is None or served_T is None:
        return {}
    version = checkpoint.version if checkpoint else BASE_POLICY
    metrics = {"serve/probe_shift": _distance(served_T, stale_T)}
    if version != (before.version if before else BASE_POLICY) and not _same_policy(checkpoint, before):
        _check_moved(metrics["serve/probe_shift"], version)
    if checkpoint is not None:
        metrics["serve/probe_error"] = error = _distance(served_T, probe.logprobs)
        _check_arrived(error, expected_shift=_distance(probe.logprobs, stale_T), version=version)
    return metrics


def _check_moved(shift: float, version: str) -> None:
    """Arithmetic on unchanged weights repeats bit for bit, and on changed weights never does."""
    if shift == 0.0:
        raise StaleSamplerError(
            "the log-probabilities are exactly those from before the adapter was loaded",
            where=f"policy {version[:12]}",
            remedy="The generator ignored load_adapter, or the update was too small to survive rounding.",
        )


def _check_arrived(error: float, *, expected_shift: float, version: str) -> None:
    if error > TOLERANCE:
        raise StaleSamplerError(
            f"the log-probabilities are {error:.3f} nats a token from the trainer's, more than {TOLERANCE}",
            where=f"policy {version[:12]}",
            remedy="The generator serves other weights than were trained; check model, adapter and dtype.",
        )
    if expected_shift > 2 * NOISE and error >= expected_shift:
        raise StaleSamplerError(
            f"the log-probabilities are no nearer to the trainer's ({error:.3f} nats a token) than before the adapter "
            f"was loaded ({expected_shift:.3f})",
            where=f"policy {version[:12]}",
            remedy="The generator serves other weights than were trained; check its adapter handling.",
        )


def _same_policy(one: AdapterCheckpoint | None, other: AdapterCheckpoint | None) -> bool:
    """True when the trainer itself saw no difference on the probe: then the sampler need not show one."""
    return one is not None and other is not None and one.probe is not None and one.probe == other.probe


def _distance(a_T: Sequence[float], b_T: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(a_T, b_T, strict=True)) / max(len(a_T), 1)
