"""`tubelet eval`: score results against known truth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tubelet.api.cli.app import AsJson, app, console, print_json

eval_app = typer.Typer(help="Score results against known truth.", no_args_is_help=True)
app.add_typer(eval_app, name="eval")


@eval_app.command("track")
def track_command(
    truth: Annotated[
        Path, typer.Option(help="Folder of PNG masks (DAVIS), or a MOTChallenge text file.", metavar="PATH")
    ],
    result: Annotated[Path, typer.Option(help="The tracker's, in either layout.", metavar="PATH")],
    first_mask_given: Annotated[
        bool,
        typer.Option("--first-mask-given", help="Leave first and last frame out of J&F, as DAVIS does."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score tracks: HOTA, IDF1, MOTA and identity switches, and J&F where both are masks."""
    from tubelet.model.tracking.scoring import score_files

    scores = score_files(truth, result, first_mask_given=first_mask_given)
    rows = asdict(scores.tracking)
    if scores.masks is not None:
        rows |= {"J": scores.masks.region, "F": scores.masks.contour, "J&F": scores.masks.both}
    if as_json:
        print_json(rows)
        return
    table = Table("measure", "score")
    table.columns[1].justify = "right"
    for name, value in rows.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    console.print(table)
