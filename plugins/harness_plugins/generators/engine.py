"""Starting and stopping vLLM inside a process that also trains: quietly, and leaving the process as it was."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, TextIO

from harness.errors import HarnessError
from harness.protocols import ModelRef
from harness_plugins.generators.configs import VllmConfig
from harness_plugins.generators.guard import OrphanGuard

if TYPE_CHECKING:
    from vllm import LLM

FEW_CORES = 4
"""vLLM keeps one core free of its products, for a scheduler that is idle most of the time. Of so few it is too many."""

INSTALL = "See the README for the pinned CPU requirements; with CUDA, pip install 'harness-align[cuda]'."


@dataclass(frozen=True)
class Engine:
    """A running engine in processes of its own."""

    llm: LLM
    by_request: bool
    """True where adapters come with each request (CUDA), False where they are merged into the weights (CPU)."""
    guard: OrphanGuard

    def stop(self) -> None:
        """End the engine's processes. Its client must be told: a process that just goes is reported as a crash."""
        self.llm.llm_engine.engine_core.shutdown()
        self.guard.release()


def start_engine(model: ModelRef, config: VllmConfig, *, context: int, seed: int) -> Engine:
    """Environment variables, signals, warnings and standard error are as before when this returns.

    Raises HarnessError when vLLM is missing or does not start.
    """
    quiet = "VLLM_LOGGING_LEVEL" not in os.environ
    with (
        _environment(_variables(config, quiet)),
        warnings.catch_warnings(),
        _children_deaf_to_interrupts(),
        _child_stderr(quiet) as log,
    ):
        if quiet:
            warnings.simplefilter("ignore", FutureWarning)
            logging.getLogger("vllm").setLevel(logging.ERROR)
        try:
            from vllm import LLM
            from vllm.platforms import current_platform
        except ImportError as error:
            raise HarnessError(f"vllm is not installed ({error})", where="generator vllm", remedy=INSTALL) from None
        by_request = not current_platform.is_cpu()
        device = _gpu_options(config) if by_request else _cpu_options()
        try:
            others = {child.pid for child in multiprocessing.active_children()}
            llm = LLM(str(model.path), **_options(config, context, seed), **device)
            pids = [child.pid for child in multiprocessing.active_children() if child.pid and child.pid not in others]
            return Engine(llm, by_request, OrphanGuard(pids))
        except (RuntimeError, ValueError, OSError) as error:
            raise HarnessError(
                f"vllm does not start: {_last_error(log) or str(error)}",
                where="generator vllm",
                remedy="Set VLLM_LOGGING_LEVEL=INFO to see its log.",
            ) from error


# ---------------------------------------------------------------- settings


def _options(config: VllmConfig, context: int, seed: int) -> dict[str, Any]:
    return {
        "dtype": config.dtype,
        "seed": seed,
        "max_model_len": context,
        # A batch always has room for a whole prompt, so that none has to be split.
        "max_num_batched_tokens": max(config.max_num_batched_tokens, context),
        "max_num_seqs": config.max_num_seqs,
        "enforce_eager": config.enforce_eager,
        "tensor_parallel_size": config.tensor_parallel_size,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        # The one backend that refuses what it does not implement, where others ignore it.
        "structured_outputs_config": {"backend": "guidance"},
        "generation_config": "vllm",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }


def _cpu_options() -> dict[str, Any]:
    return {
        # A split prefill rewinds the generator of a seeded request, which CPU generators cannot do.
        "enable_chunked_prefill": False,
        # The completions of a group share their prompt in whole blocks. Of vLLM's own, 128 tokens on CPUs, there are
        # few in a prompt, and what is behind them is computed once a completion; smaller ones than this are slow.
        "block_size": 32,
    }


def _gpu_options(config: VllmConfig) -> dict[str, Any]:
    return {
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": config.max_lora_rank,
    }


def _variables(config: VllmConfig, quiet: bool) -> dict[str, str]:
    variables = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": str(config.kv_cache_gib),
    }
    if "VLLM_CPU_NUM_OF_RESERVED_CPU" not in os.environ and _cores() <= FEW_CORES:
        variables["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    if quiet:
        variables |= {
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # standard output is the command's result
            "PYTHONWARNINGS": "ignore::FutureWarning",
            "TORCH_CPP_LOG_LEVEL": "ERROR",
        }
    return variables


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---------------------------------------------------------------- leaving the process as it was


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """vLLM exports thread counts, preloads and a world size, which would reach every later child and Accelerate."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _children_deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of the terminal; the engine must outlive it, to be stopped by its owner.

    Processes inherit the signal mask of the thread that starts them, and vLLM's install handlers but leave the mask.
    While it is blocked here, an idle thread takes an interrupt for this process, so it is not lost.
    """
    resource_tracker.ensure_running()  # when multiprocessing starts this one itself, it lifts the block
    over = threading.Event()
    threading.Thread(target=over.wait, name="interrupts", daemon=True).start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        over.set()


@contextmanager
def _child_stderr(quiet: bool) -> Iterator[TextIO | None]:
    """Processes started inside write their standard error to the yielded file; this process keeps its own.

    They print before their logging is set up, so no setting can quiet them.
    """
    if not quiet:
        yield None
        return
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        terminal = os.dup(2)
        mine, sys.stderr = sys.stderr, os.fdopen(os.dup(terminal), "w", buffering=1)
        os.dup2(log.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            sys.stderr.close()
            sys.stderr = mine


def _last_error(log: TextIO | None) -> str:
    """The last line of the log that names an error."""
    if log is None:
        return ""
    log.seek(0)
    lines = [line.strip() for line in log if "Error" in line]
    return lines[-1] if lines else ""
