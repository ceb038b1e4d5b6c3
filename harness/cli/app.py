"""The command group, what all commands share, and how errors leave the program."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from harness.cli.lazy import LazyCommand, LazyGroup
from harness.errors import EXIT_INTERRUPTED, EXIT_INVALID, HarnessError, PluginError

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
        return self._load()

    def add_commands(self, cli: click.Group, *, to_list: bool) -> None:
        """Those of plugins that are not ours; ours have none. Only to list them, the built-ins are not imported, which
        costs more than all the rest of `--help`."""
        from importlib.metadata import entry_points

        if self.commands_added or not (self.local_files or entry_points(group="harness")):
            return
        self.commands_added = True
        (self._load(builtins=False) if to_list else self.registry).add_commands(cli)

    def _load(self, *, builtins: bool = True) -> Registry:
        from harness.plugins import load_registry

        registry = load_registry(
            local_files=self.local_files, disabled=self.disabled, third_party=self.third_party, builtins=builtins
        )
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

COMMANDS = {
    "loop": (
        "run",
        "Improve a model on a suite: sample, judge, update, evaluate, and promote only what is shown to be better.",
    ),
    "init": ("init", "Write a commented loop config for what is at hand: which stages, in which order, and why."),
    "train": ("train", "Train an adapter alone, from a stored run's groups or from a file."),
    "data": ("data", "Look at training data, clean it, split it, mix it, and write it as others read it."),
    "lineage": ("lineage", "What was trained on a source, or what an adapter was trained on."),
    "compare": ("compare", "Hold adapters against what stood in a run, or stored evaluations against one another."),
    "eval": ("eval", "Evaluate a model, bare or with adapters, on one or more suites."),
    "score": (
        "score",
        "Judge what was sampled again, with the judges that the suites have now, and say what that changes.",
    ),
    "report": (
        "report",
        "Write an evaluation down for people (Markdown), for programs (JSON), or for continuous integration "
        "(JUnit XML).",
    ),
    "gate": (
        "gate",
        "Would the gate promote CANDIDATE? A folder, a name under --evals, RUN, RUN:ROUND; nothing is sampled.",
    ),
    "bless": (
        "bless",
        "Make EVALUATION what `harness gate` holds others against. Commit the folder: it holds scores, no completions.",
    ),
    "power": (
        "power",
        "What margins and gains can be shown with SUITE's items, or with --n of them, by the gate's own estimator.",
    ),
    "export": (
        "export",
        "Write a run's incumbent, or any adapter, as a folder that others load, with a card that says how it was made.",
    ),
    "export-log": (
        "export_log",
        "Write an evaluation as logs of inspect_ai, one a suite, for `inspect view --log-dir OUT`.",
    ),
    "judge": ("judge", "Try a judge; or have people judge, or a model that this machine cannot reach."),
    "audit": (
        "audit",
        "Choose the better of two answers without knowing what the judges said, and see how far they agree with you.",
    ),
    "runs": ("look", "List runs: how far each is, and what stands."),
    "show": (
        "look",
        "Look at a run: its rounds, one round's gate decision, or its worst completions. RUN is a name or a folder.",
    ),
    "suites": (
        "components",
        "List suites; `harness suites show NAME` prints one's make-up, `harness suites validate NAME` checks it.",
    ),
    "plugins": ("components", "List every component with its origin; `harness plugins show NAME` prints its settings."),
    "doctor": (
        "doctor",
        "Say what is here (torch, device, vLLM, cores, memory, cache, plugins) and how to get what is missing.",
    ),
    "completion": ("completion", 'Print a completion script, e.g. for ~/.bashrc: eval "$(harness completion bash)".'),
}
"""Module and summary by name; a test holds the summaries against the commands."""

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


class HarnessGroup(LazyGroup):
    """Our commands, and those of plugins once somebody asks for a name that is not ours, or for all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        ctx.ensure_object(App).add_commands(self, to_list=True)  # its own --help comes before its options are read
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.commands:
            ctx.ensure_object(App).add_commands(self, to_list=False)
        return super().get_command(ctx, name)

    def add_command(
        self,
        cmd: click.Command,
        name: str | None = None,
        aliases: Iterable[str] | None = None,
        panel: str | None = None,
    ) -> None:
        """Raises PluginError where a plugin's command is called like one of ours."""
        if isinstance(self.commands.get(name or cmd.name or ""), LazyCommand):
            raise PluginError(f"command {name or cmd.name!r} is one of harness's own", remedy="Give it another name.")
        super().add_command(cmd, name, aliases, panel)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # click would exit with 1 in silence, which here means that the gate rejected.
            raise PipeClosedError from error


@click.group(cls=HarnessGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
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


cli.add_lazily("harness.cli", COMMANDS)


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
