"""The policy's generator, started when first needed and never trusted to serve what it was told to."""

from __future__ import annotations

from collections.abc import Callable

from harness.probe import serve
from harness.protocols import Generator
from harness.types import AdapterCheckpoint


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
