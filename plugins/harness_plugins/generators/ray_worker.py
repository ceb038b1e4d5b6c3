"""One worker of the `ray` generator: what runs in a process of Ray's, perhaps on another machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import assets
from harness.errors import AssetError, HarnessError
from harness.plugins import Sources, load_registry
from harness.probe import serve
from harness.protocols import Generator, ModelRef, RunContext, SilentProgress
from harness.sampler import draw_groups
from harness.seats import GeneratorSeat
from harness.types import AdapterCheckpoint, Group, Prompt, Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

Files = Mapping[str, "NDArray[np.uint8]"]
"""An adapter's files, by name: arrays of bytes travel through Ray's store without being copied in each process."""


@dataclass(frozen=True)
class Job:
    """What a worker is started with."""

    seat: GeneratorSeat
    model: ModelRef | None
    seed: int
    adapter: Mapping[str, Any]
    sources: Sources
    node: str
    """Ray's id of the machine that gave the job: on any other, the model is checked."""


@dataclass(frozen=True)
class Reply:
    """What came of a call. An error's parts, because exceptions with keyword arguments cannot be pickled."""

    value: Any
    error: tuple[str, str, str] | None
    """what, where, remedy"""
    notes: tuple[str, ...]


class RayWorker:
    """Holds a generator. Its one public method is `call`: a HarnessError is a reply, and only a bug is an exception."""

    def __init__(self, job: Job) -> None:
        self._job, self._progress = job, Notes()
        self._generator: Generator | None = None
        self._served: AdapterCheckpoint | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def call(self, name: str, *arguments: Any) -> Reply:
        methods: Mapping[str, Callable[..., Any]] = {
            "start": self._start,
            "generate": self._generate,
            "load_adapter": self._load_adapter,
            "score_tokens": self._score_tokens,
            "close": self._close,
        }
        try:
            value, error = methods[name](*arguments), None
        except HarnessError as raised:
            value, error = None, (raised.what, raised.where, raised.remedy)
        return Reply(value, error, self._progress.taken())

    # ------------------------------------------------------------ calls

    def _start(self) -> str:
        """Make the generator. Returns where it comes from, as the registry here has it."""
        import ray

        job = self._job
        registry = load_registry(**vars(job.sources))
        origin = str(registry.get("generator", job.seat.name).origin)
        if job.model is not None and ray.get_runtime_context().get_node_id() != job.node:
            _require_same(job.model)
        context = RunContext(
            model=job.model, seed=job.seed, adapter=job.adapter, progress=self._progress, components=registry
        )
        self._generator = registry.create("generator", job.seat.name, job.seat.config, context, where="[generator] of")
        return origin

    def _generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int) -> list[Group]:
        return draw_groups(self._held, prompts, n=n, sampling=sampling, seed=seed)

    def _load_adapter(self, checkpoint: AdapterCheckpoint | None, files: Files) -> None:
        """Each worker proves for itself that it serves the adapter. Raises StaleSamplerError."""
        folder = tempfile.TemporaryDirectory(prefix="harness-adapter-")
        if checkpoint is not None:
            write_files(files, Path(folder.name))
            checkpoint = replace(checkpoint, path=Path(folder.name))
        serve(self._held, checkpoint, before=self._served)
        if self._folder is not None:
            self._folder.cleanup()
        # An engine may read the files only with its first request.
        self._served, self._folder = checkpoint, folder

    def _score_tokens(self, token_ids: Sequence[int]) -> tuple[float, ...] | None:
        return self._held.score_tokens(token_ids)

    def _close(self) -> None:
        if self._generator is not None:
            self._generator.close()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def _held(self) -> Generator:
        assert self._generator is not None, "start comes first"
        return self._generator


class Notes(SilentProgress):
    """Keeps notes for the process that shows them."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def note(self, text: str) -> None:
        self._texts.append(text)

    def taken(self) -> tuple[str, ...]:
        """Those since the last call."""
        texts, self._texts = tuple(self._texts), []
        return texts


def read_files(folder: Path) -> Files:
    """Everything in the folder, by its path from there. Raises HarnessError when there is no such folder."""
    if not folder.is_dir():
        raise HarnessError("no such folder", where=str(folder), remedy="Give the folder of a trained adapter.")
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): np.fromfile(file, dtype=np.uint8) for file in files}


def write_files(files: Files, folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content.tofile(folder / name)


def _require_same(model: ModelRef) -> None:
    """The model that lies here under the same path must be the same by content."""
    found = assets.model(model.path)
    if found.fingerprint != model.fingerprint:
        raise AssetError(
            f"another model lies here (fingerprint {found.fingerprint[:12]}, not {model.fingerprint[:12]})",
            where=str(model.path),
            remedy="Copy the model to the same path on every machine, or put it on a shared filesystem.",
        )
