"""Chunks handed to processes, a few at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from harness.data.chunks import Job, Worker
from harness.data.reading import RawRow
from harness.errors import HarnessError

_worker: Worker | None = None
"""Of this process, where it is one of a pool."""


def batches(rows: Iterator[RawRow], size: int) -> Iterator[list[RawRow]]:
    batch: list[RawRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def submitting(job: Job, workers: int) -> Iterator[Any]:
    """`submit(number, rows)`, which waits while enough is under way; with one worker, in this process."""
    if workers == 1:
        alone = Worker(job)
        yield alone.process
        return
    pending: set[Future[None]] = set()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(job,)) as pool:

        def submit(number: int, rows: list[RawRow]) -> None:
            pending.add(pool.submit(_process, number, rows))
            settle(2 * workers)

        def settle(most: int) -> None:
            while len(pending) > most:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                pending.difference_update(done)
                for future in done:
                    future.result()

        try:
            yield submit
            settle(0)
        except BrokenProcessPool as error:
            raise HarnessError(
                "a process that filtered has died",
                where=job.source.name,
                remedy="It may have run out of memory: --workers 1.",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start(job: Job) -> None:
    """In each process, once: filters can be dear to make."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent says what follows
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = Worker(job)


def _end_with_parent() -> None:
    """A parent that is killed cannot say that there is nothing more to do."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _process(number: int, rows: Sequence[RawRow]) -> None:
    assert _worker is not None, "_start has not run"
    _worker.process(number, rows)
