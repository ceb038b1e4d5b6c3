"""Options of verbs that read training data."""

from __future__ import annotations

import rich_click as click

LAYOUT_OPTION = click.option(
    "--layout",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Of its rows: auto (that of most), any (each by its own), or one of harness.data.layouts.",
)
