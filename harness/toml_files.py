"""TOML files: configs, manifests of suites, rubrics."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from harness.errors import ConfigError


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict. Raises ConfigError with the line at which it is malformed."""
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path), remedy="Check the path.") from None
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path), remedy="Name a TOML file.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"malformed TOML: {error}", where=str(path), remedy="Correct that line.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text: {error.reason}", where=str(path), remedy="Save it as UTF-8.") from None
