"""Connecting to Ray: quietly, without its telemetry, and leaving the process as it was."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.errors import ConfigError, HarnessError
from harness_plugins.generators.configs import RayConfig

if TYPE_CHECKING:
    from types import ModuleType

WHERE = "generator ray"
CONNECT = 10.0
"""Seconds for a cluster to accept a connection."""
LOGS = "Its logs are in /tmp/ray/session_latest/logs on the machine of the worker."


def import_ray() -> ModuleType:
    """Raises HarnessError when ray is not installed."""
    # Ray reads these when it is imported. It reports use of a cluster that it starts unless told not to, and writes
    # notices of dead workers to standard output, which is a command's result; what died is raised as an error here.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    try:
        import ray
    except ImportError as error:
        raise HarnessError(
            f"ray is not installed ({error})", where=WHERE, remedy="pip install 'harness-align[ray]'."
        ) from None
    return ray


def connect(config: RayConfig) -> bool:
    """Make this process a driver; whether it was none before, so that it must be disconnected when the work is done.

    Raises HarnessError when Ray does not start, ConfigError when this machine lacks the GPUs that are asked for.
    """
    ray = import_ray()
    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _sigterm_as_before(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            if config.address:
                _require_listening(config.address)
                ray.init(config.address, **quiet)
            else:
                # What is reserved is what there is: Ray is here to start these workers and nothing else.
                ray.init("local", num_cpus=_whole(config.workers * config.num_cpus), include_dashboard=False, **quiet)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            what = f"no cluster at {config.address}" if config.address else "Ray does not start"
            raise HarnessError(f"{what} ({_first_line(error)})", where=WHERE, remedy=LOGS) from error
    if not config.address:
        try:
            _require_gpus(config, ray.cluster_resources().get("GPU", 0.0))
        except ConfigError:
            ray.shutdown()
            raise
    return True


def _require_listening(address: str) -> None:
    """Ray itself tries for minutes. Raises OSError. What `auto` stands for is Ray's to find."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT).close()


def _require_gpus(config: RayConfig, there: float) -> None:
    asked = config.workers * config.num_gpus
    if asked > there:
        raise ConfigError(
            f"{config.workers} workers of {config.num_gpus:g} GPUs are {asked:g}, and this machine has {there:g}",
            where=WHERE,
            remedy="Set num_gpus or workers lower, or name a cluster with address.",
        )


def _whole(number: float) -> int:
    return -int(-number // 1)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}".rstrip(": ")


@contextmanager
def _sigterm_as_before() -> Iterator[None]:
    """Ray puts a handler of its own in place, whatever was there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mine = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, mine)
