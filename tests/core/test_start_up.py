"""What commands import, which is what they take to start; and that lists made without importing say the truth."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.cli.app import cli
from harness.cli.data import data_command
from harness.cli.lazy import LazyCommand, LazyGroup
from harness.errors import PluginError

HEAVY = {"torch", "transformers", "vllm", "peft", "scipy", "pyarrow", "numpy", "jsonschema"}
EARLY = {*HEAVY, "pydantic", "pluggy", "harness.plugins", "harness_judges", "harness_plugins", "harness_suites"}
COMPLETION = {"_HARNESS_COMPLETE": "bash_complete", "COMP_WORDS": "harness ev", "COMP_CWORD": "1"}


def started(*arguments: str, path: Path | None = None, **variables: str) -> tuple[str, set[str]]:
    """What a command prints, and what a new process has imported by its end."""
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from harness.cli import main\n"
        "main()\n"
    )
    # As where they are installed: a checkout's own folders come after whatever `path` adds.
    paths = [*([str(path)] if path else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "variables", "printed"),
    [
        (["--help"], {}, "Write a commented loop config"),
        (["data", "--help"], {}, "Say what is wrong with training data"),
        (["--version"], {}, "harness"),
        ([], COMPLETION, "plain,eval"),
    ],
    ids=["help", "data-help", "version", "completion"],
)
def test_what_only_lists_commands_imports_none(arguments: list[str], variables: dict[str, str], printed: str) -> None:
    said, imported = started(*arguments, **variables)
    assert printed in said
    assert not EARLY & imported
    assert {name for name in imported if name.startswith("harness.")} <= {
        *("harness.cli", "harness.cli.app", "harness.cli.lazy", "harness.cli.data", "harness.errors")
    }


def test_listing_components_imports_neither_the_loop_nor_what_is_heavy() -> None:
    said, imported = started("plugins")
    assert "tool_call" in said
    assert not {*HEAVY, "harness.api", "harness.loop", "harness.config", "harness.comparison"} & imported


@pytest.mark.parametrize("group", [cli, data_command], ids=["harness", "data"])
def test_summaries_are_those_of_the_commands(group: LazyGroup) -> None:
    commands = [command for command in group.commands.values() if isinstance(command, LazyCommand)]
    assert len(commands) >= 8
    for listed in commands:
        command = listed.load()
        assert command.name == listed.name
        [summary, *_] = inspect.cleandoc(command.help or "").split("\n\n")
        assert listed.help == summary.replace("\n", " ")
        assert (command.short_help, command.hidden, command.deprecated) == (None, False, False), command.name


def test_what_runs_is_the_command_itself() -> None:
    context = click.Context(cli)
    name, command, rest = cli.resolve_command(context, ["export-log", "x"])
    assert (name, rest) == ("export-log", ["x"])
    assert command is not None
    assert {parameter.name for parameter in command.params} >= {"out", "as_json"}


# ---------------------------------------------------------------- commands of plugins


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder in which a distribution is installed whose plugin brings a command."""
    info = tmp_path / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness]\ngreeting = greeting\n")
    (tmp_path / "greeting.py").write_text(
        "import click\nimport harness\n\n"
        "@harness.hookimpl\n"
        "def harness_register_commands(cli):\n"
        "    @cli.command('greet')\n"
        "    @click.pass_context\n"
        "    def greet(ctx):\n"
        "        'Say hello.'\n"
        "        click.echo(f\"hello {ctx.obj.registry.get('judge', 'exact').spec.name}\")\n"
    )
    return tmp_path


def test_a_plugins_command_is_listed_without_the_built_ins(site: Path) -> None:
    said, imported = started("--help", path=site)
    assert "greet" in said
    assert "Say hello." in said
    assert "greeting" in imported
    assert not {*HEAVY, "harness_judges", "harness_plugins", "harness_suites"} & imported


def test_a_plugins_command_runs_with_all_components(site: Path) -> None:
    said, imported = started("greet", path=site)
    assert said == "hello exact\n"
    assert not HEAVY & imported


def test_a_plugins_command_is_completed(site: Path) -> None:
    said, _ = started(path=site, **{**COMPLETION, "COMP_WORDS": "harness gr"})
    assert said == "plain,greet\n"


def test_a_plugin_cannot_take_the_place_of_a_command() -> None:
    with pytest.raises(PluginError, match="'loop' is one of harness's own"):
        cli.add_command(click.Command("loop"))
