"""Generators held to their contract: the policy's starts when first needed and must prove which adapter it serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.errors import PluginError
from harness.probe import serve
from harness.protocols import Generator
from harness.types import AdapterCheckpoint, Group, Prompt, Sampling


class Sampler:
    """Starts the engine on first use (a resumed run may need none) and proves each swap with a probe."""

    def __init__(self, start: Callable[[], Generator]) -> None:
        self._start = start
        self._generator: Generator | None = None
        self._served: AdapterCheckpoint | None = None
        self.metrics: dict[str, float] = {}

    def at(self, checkpoint: AdapterCheckpoint | None) -> Generator:
        """The generator serving this adapter (None: the base). Raises StaleSamplerError if it does not."""
        if self._generator is None:
            self._generator = self._start()
        if (checkpoint and checkpoint.version) != (self._served and self._served.version):
            self.metrics = serve(self._generator, checkpoint, before=self._served)
            self._served = checkpoint
        return self._generator

    def close(self) -> None:
        if self._generator is not None:
            self._generator.close()
            self._generator = None
            self._served = None


def draw_groups(
    generator: Generator, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int
) -> list[Group]:
    """`generator.generate`, refused unless it gives n completions for every prompt, in order.

    Raises PluginError otherwise: prompts that were silently left out would be missing from both arms of a comparison.
    """
    groups = generator.generate(prompts, n=n, sampling=sampling, seed=seed)
    where = f"generator {type(generator).__name__}"
    if [group.prompt for group in groups] != list(prompts):
        raise PluginError(f"{len(groups)} groups, not those of the {len(prompts)} prompts in order", where=where)
    for group in groups:
        if len(group.completions) != n:
            raise PluginError(f"{len(group.completions)} completions of prompt {group.prompt.id}, not {n}", where=where)
    return groups
