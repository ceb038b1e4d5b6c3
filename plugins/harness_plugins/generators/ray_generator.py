"""Sampling by several workers: any generator, once in each of Ray's actors, on this machine or on a cluster.

A completion's random numbers come from the seed, its prompt's id and its index, wherever it is drawn. So what a
generator samples does not depend on how many workers there are, up to what it computes side by side (rounding).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.errors import ConfigError, HarnessError
from harness.plugins import Registry
from harness.protocols import RunContext
from harness.types import AdapterCheckpoint, Group, Prompt, Sampling
from harness_plugins.generators.configs import RayConfig
from harness_plugins.generators.ray_cluster import LOGS, WHERE, connect, import_ray
from harness_plugins.generators.ray_worker import Job, RayWorker, Reply, read_files

GRACE = 20.0
"""Seconds that workers have to close their generators before their processes are ended."""


class RayGenerator:
    """W workers, each with a generator. Nothing is tried again: a worker that fails or dies ends the call."""

    def __init__(self, config: RayConfig, context: RunContext) -> None:
        if not isinstance(context.components, Registry):
            raise ConfigError("generators cannot be made here", where=WHERE, remedy="Give the context its components.")
        self._config, self._progress = config, context.progress
        origin = str(context.components.get("generator", config.of.name).origin)
        self._ray = import_ray()
        self._connected = connect(config)
        self._workers: list[Any] = []
        try:
            self._start(context, context.components)
            self._require_origin(origin)
        except BaseException:  # whatever it is, the workers must not be left behind
            self._end(grace=0.0)
            raise

    def _start(self, context: RunContext, registry: Registry) -> None:
        config = self._config
        node = self._ray.get_runtime_context().get_node_id()
        job = Job(config.of, context.model, context.seed, dict(context.adapter), registry.sources, node)
        worker = self._ray.remote(RayWorker).options(
            num_cpus=config.num_cpus, num_gpus=config.num_gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._workers = [worker.remote(job) for _ in range(config.workers)]
        with self._progress.task("start workers", total=config.workers) as advance:
            self._origins = self._broadcast("start", on_done=lambda _: advance(1), timeout=config.start_timeout)

    def _require_origin(self, mine: str) -> None:
        for index, theirs in enumerate(self._origins):
            if theirs != mine:
                raise HarnessError(
                    f"it has generator {self._config.of.name} from {theirs}, and this process from {mine}",
                    where=self._name(index),
                    remedy="Install the same versions on every machine of the cluster.",
                )

    # ------------------------------------------------------------ sampling

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        """Prompt p goes to worker p modulo W. Raises HarnessError, naming the worker, when one fails or dies."""
        count = len(self._workers)
        hands = {w: (prompts[w::count], n, sampling, seed) for w in range(min(count, len(prompts)))}
        groups: dict[int, Group] = {}
        with self._progress.task("generate", total=len(prompts) * n) as advance:
            dealt = self._call("generate", hands, on_done=lambda w: advance(len(hands[w][0]) * n))
        for w, drawn in dealt.items():
            groups.update(zip(range(w, len(prompts), count), drawn, strict=True))
        self._require_one_policy(list(groups.values()))
        return [groups[p] for p in range(len(prompts))]

    @staticmethod
    def _require_one_policy(groups: Sequence[Group]) -> None:
        versions = sorted({group.policy_version for group in groups})
        if len(versions) > 1:
            raise HarnessError(
                f"its workers serve different policies ({', '.join(v[:12] for v in versions)})",
                where=WHERE,
                remedy="A hand-over was cut short; start again.",
            )

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        """The adapter's files travel through Ray's object store: no filesystem needs to be shared.

        Every worker holds its log-probabilities of the adapter's probe against the trainer's. Raises HarnessError,
        naming the worker, when they are others or the adapter cannot be served.
        """
        files = self._ray.put(read_files(checkpoint.path) if checkpoint else {})
        self._broadcast("load_adapter", checkpoint, files)

    def score_tokens(self, token_ids: Sequence[int]) -> tuple[float, ...] | None:
        """By the first worker: one sequence is nothing to share out, and each has proved what it serves."""
        scored: tuple[float, ...] | None = self._call("score_tokens", {0: (tuple(token_ids),)})[0]
        return scored

    def close(self) -> None:
        """End the workers, busy or not, and Ray with them if it was started or joined here."""
        self._end(grace=GRACE)

    def _end(self, *, grace: float) -> None:
        workers, self._workers = self._workers, []
        if not self._ray.is_initialized():
            return
        if workers:
            self._ray.wait([w.call.remote("close") for w in workers], num_returns=len(workers), timeout=grace)
        for worker in workers:
            self._ray.kill(worker)
        if self._connected:
            self._ray.shutdown()

    # ------------------------------------------------------------ calls

    def _broadcast(
        self,
        method: str,
        *arguments: Any,
        on_done: Callable[[int], None] = lambda _: None,
        timeout: float | None = None,
    ) -> list[Any]:
        """What every worker replies to the same, in order."""
        replies = self._call(
            method, dict.fromkeys(range(len(self._workers)), arguments), on_done=on_done, timeout=timeout
        )
        return [replies[w] for w in range(len(self._workers))]

    def _call(
        self,
        method: str,
        arguments: Mapping[int, Sequence[Any]],
        *,
        on_done: Callable[[int], None] = lambda _: None,
        timeout: float | None = None,
    ) -> dict[int, Any]:
        """What the workers in `arguments` reply, by index. The first failure is raised at once."""
        deadline = None if timeout is None else time.monotonic() + timeout
        asked = {self._workers[w].call.remote(method, *given): w for w, given in arguments.items()}
        values: dict[int, Any] = {}
        while len(values) < len(asked):
            waiting = [ref for ref, w in asked.items() if w not in values]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _ = self._ray.wait(waiting, num_returns=1, timeout=left)
            if not ready:
                raise self._late(waiting, timeout)
            w = asked[ready[0]]
            values[w] = self._value(ready[0], w)
            on_done(w)
        return values

    def _value(self, ref: Any, index: int) -> Any:
        errors = self._ray.exceptions
        try:
            reply: Reply = self._ray.get(ref)
        except errors.RayTaskError as error:
            last = str(error).strip().splitlines()[-1]
            raise HarnessError(f"it failed: {last}", where=self._name(index), remedy=LOGS) from error
        except errors.RayError as error:
            first = str(error).strip().splitlines()[0]
            remedy = f"Was it killed for want of memory? {LOGS}"
            raise HarnessError(f"its process ended ({first})", where=self._name(index), remedy=remedy) from error
        if index == 0:  # the others would say the same
            for note in reply.notes:
                self._progress.note(note)
        if reply.error is not None:
            what, where, remedy = reply.error
            raise HarnessError(what, where=", ".join(filter(None, [self._name(index), where])), remedy=remedy)
        return reply.value

    def _late(self, waiting: Sequence[Any], timeout: float | None) -> HarnessError:
        there = self._ray.cluster_resources()
        return HarnessError(
            f"{len(waiting)} of {len(self._workers)} workers have not started within {timeout:g} s; the cluster has "
            f"{there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs, a worker asks for "
            f"{self._config.num_cpus:g} and {self._config.num_gpus:g}",
            where=WHERE,
            remedy="Ask for less, add machines, or raise start_timeout where the model is large.",
        )

    def _name(self, index: int) -> str:
        return f"{WHERE}, worker {index + 1} of {len(self._workers)}"


def create_ray(config: RayConfig, context: RunContext) -> RayGenerator:
    return RayGenerator(config, context)
