"""`harness suites validate`: what can be found wrong with suites before a model is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import rich_click as click

from harness.cli.app import App, pass_app
from harness.errors import EXIT_INVALID, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from harness.suite_checks import Finding


@click.command("validate")
@click.argument("suites", nargs=-1, metavar="SUITE...")
@click.option("--all", "every", is_flag=True, help="All that there are; see `harness suites`.")
@click.option("--against", multiple=True, metavar="SUITE", help="Nor may items be trained on in this one.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@pass_app
def validate_command(app: App, suites: Sequence[str], every: bool, against: Sequence[str], as_json: bool) -> int:
    """Check suites, by name or folder, without a model: their rows, splits and judges.

    References must be given 1, and policies that ignore their input must stay below the suite's bound. Items of one
    suite must not be trained on in another that is named. Exit code 3 if there is an error.
    """
    from harness.suite_checks import complete_suites, validate_suites

    names = list(dict.fromkeys([*suites, *(complete_suites(app.registry) if every else ())]))
    if not names:
        raise ConfigError("no suite is named", where="harness suites validate", remedy="Name one, or give --all.")
    findings = validate_suites(names, against=against, registry=app.registry, progress=app.view)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False))
    else:
        click.echo(_shown(findings))
    return EXIT_INVALID if any(finding.verdict == "error" for finding in findings) else EXIT_OK


def _shown(findings: Sequence[Finding]) -> str:
    from harness.cli.table import table

    rows = [[f.suite, f.check, f.verdict, f.detail] for f in findings]
    parts = [table(["suite", "check", "verdict", "detail"], rows)]
    scored = [finding for finding in findings if finding.scores]
    if scored:
        policies = list(dict.fromkeys(name for finding in scored for name in finding.scores))
        cells = [[f.suite, *(f"{f.scores[p]:.1%}" if p in f.scores else "" for p in policies)] for f in scored]
        parts.append(table(["suite", *policies], cells, title="What policies that ignore their input score"))
    errors = sum(finding.verdict == "error" for finding in findings)
    warnings = sum(finding.verdict == "warning" for finding in findings)
    parts.append(f"errors: {errors}, warnings: {warnings}")
    return "\n\n".join(parts)
