"""The command group, what all commands share, and how errors leave the program."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import rich_click as click
from click.exceptions import Exit

from harness.errors import EXIT_INTERRUPTED, EXIT_INVALID, HarnessError

if TYPE_CHECKING:
    from harness.cli.view import View
    from harness.plugins import Registry

EXIT_PIPE = 141  # 128 + SIGPIPE
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h: 1 and 2 are the gate's


@dataclass
class App:
    """Global options, and what is made from them when first needed (a `--help` needs none of it)."""

    local_files: Sequence[Path] = ()
    disabled: Sequence[str] = ()
    third_party: bool = True
    quiet: bool = False
    commands_added: bool = field(default=False, init=False)

    @cached_property
    def registry(self) -> Registry:
        from harness.plugins import load_registry

        registry = load_registry(local_files=self.local_files, disabled=self.disabled, third_party=self.third_party)
        for problem in registry.problems:
            click.echo(f"warning: left out {problem}", err=True)
        return registry

    @cached_property
    def view(self) -> View:
        from harness.cli.view import View

        return View(quiet=self.quiet)


class PipeClosedError(Exception):
    """Whoever read our output, or an engine that we talk to, is gone."""


pass_app = click.make_pass_decorator(App)

click.rich_click.COMMAND_GROUPS = {
    "harness": [
        {"name": "Do", "commands": ["loop", "init", "train", "export"]},
        {"name": "Data", "commands": ["data", "lineage"]},
        {"name": "Evaluate", "commands": ["eval", "score", "compare", "gate", "bless", "power", "suites"]},
        {"name": "Judge", "commands": ["judge", "audit"]},
        {"name": "Look", "commands": ["runs", "show", "report", "export-log", "plugins", "doctor"]},
        {"name": "Shell", "commands": ["completion"]},
    ]
}


class LazyGroup(click.RichGroup):
    """Subcommands live in modules that are imported when one of them is asked for."""

    modules: ClassVar[dict[str, str]] = {
        "loop": "run",
        "init": "init",
        "train": "train",
        "data": "data",
        "lineage": "lineage",
        "compare": "compare",
        "eval": "eval",
        "score": "score",
        "report": "report",
        "gate": "gate",
        "bless": "bless",
        "power": "power",
        "export": "export",
        "export-log": "export_log",
        "judge": "judge",
        "audit": "audit",
        "runs": "look",
        "show": "look",
        "suites": "components",
        "plugins": "components",
        "doctor": "doctor",
        "completion": "completion",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._add_plugin_commands(ctx)
        return [*self.modules, *(name for name in super().list_commands(ctx) if name not in self.modules)]

    def _add_plugin_commands(self, ctx: click.Context) -> None:
        """Only where there may be any: loading the registry costs more than all the rest of `--help`."""
        app = ctx.obj or App()  # the group's own --help comes before its options are read
        if not app.commands_added and (app.local_files or importlib.metadata.entry_points(group="harness")):
            app.commands_added = True
            app.registry.add_commands(self)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.modules:
            module = importlib.import_module(f"harness.cli.{self.modules[name]}")
            command: click.Command = getattr(module, f"{name.replace('-', '_')}_command")
            return command
        self._add_plugin_commands(ctx)
        return super().get_command(ctx, name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # click would exit with 1 in silence, which here means that the gate rejected.
            raise PipeClosedError from error


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="harness-align", prog_name="harness")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="Load a local plugin file.")
@click.option("--disable-plugin", "disabled", multiple=True, metavar="NAME", help="Leave out an installed plugin.")
@click.option("--no-plugins", is_flag=True, help="Leave out all installed plugins; built-ins stay.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only results and errors.")
@click.pass_context
def cli(ctx: click.Context, plugins: Sequence[Path], disabled: Sequence[str], no_plugins: bool, quiet: bool) -> None:
    """Evaluate, align and promote language models on evidence."""
    ctx.obj = App(plugins, disabled, not no_plugins, quiet)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run the command line and exit. Bad input gets one line and code 3, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        code = cli.main(args=arguments, prog_name="harness", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except HarnessError as error:
        _fail(str(error), error.exit_code)
    except Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        # click's own code for misuse is 2, which here means inconclusive.
        _fail(error.format_message(), EXIT_INVALID)
    except (KeyboardInterrupt, click.Abort):
        _fail(
            "interrupted; nothing half-written is kept. A loop or an evaluation goes on with --resume", EXIT_INTERRUPTED
        )
    except PipeClosedError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it on exit, into the closed pipe
        _fail("the reader of the output, or an engine, has closed its pipe", EXIT_PIPE)
    except Exception:
        traceback.print_exc()
        _fail("this is a bug in harness or a plugin; please report it with the traceback above", EXIT_BUG)


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)
