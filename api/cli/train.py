"""`tubelet train`: train the networks, from scratch or from published weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from tubelet.api.cli.app import EXIT_FAILED, app, console
from tubelet.errors import InputError

train_app = typer.Typer(
    help="Train the networks: on rendered scenes, or on data of your own.", no_args_is_help=True
)
app.add_typer(train_app, name="train")


@train_app.command("track")
def track_command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the checkpoint and the run.", metavar="DIR")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe by name: small, fine-tune. [default: fine-tune with --init, else small]",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Or a recipe of your own: a TOML file.", metavar="FILE"),
    ] = None,
    data: Annotated[
        str, typer.Option(help="`rendered`, or the folder of a data set in DAVIS' layout.", metavar="DATA")
    ] = "rendered",
    init: Annotated[
        str | None,
        typer.Option(help="Begin with these weights: a name, OWNER/NAME on the hub, or a folder."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of every stage, instead of the recipe's.", min=1)
    ] = None,
    image_px: Annotated[
        int | None, typer.Option("--image-px", help="Side of the pictures, instead of the recipe's.", min=64)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train SAM 2 to follow objects, from scratch or from published weights.

    The best weights so far lie in the folder, ready for `--tracker`; `stages/` holds logs, loss curves as
    pictures, and what resuming needs. SIGTERM stops after a save. Several GPUs: run
    [bold]accelerate launch -m tubelet train track …[/]

    Example: [bold]tubelet train track --out my-tracker --init sam2.1-hiera-small --data DAVIS[/]
    """
    from tubelet.model.training.track.recipe import load_recipe, read_recipe
    from tubelet.model.training.track.run import train_tracker

    if recipe is not None and config is not None:
        raise InputError("Both --recipe and --config are given", expected="one of them", do="drop one")
    logging.getLogger("tubelet").setLevel(logging.INFO)
    if config is not None:
        chosen = read_recipe(config)
    else:
        chosen = load_recipe(recipe or ("small" if init is None else "fine-tune"))
    chosen = chosen.override(steps=steps, image_px=image_px)
    reports = train_tracker(
        chosen, out, data=None if data == "rendered" else Path(data), init=init, resume=resume
    )
    for stage, report in zip(chosen.stages, reports, strict=False):
        best = "" if report.best is None else f", best {report.best:.3f} at step {report.best_step}"
        console.print(
            f"{stage.name}: {report.step} steps in {report.seconds:.0f} s ({report.reason}){best}",
            highlight=False,
        )
    if reports[-1].reason == "signal":
        console.print("Stopped. The same command with --resume goes on from here.", highlight=False)
        raise typer.Exit(EXIT_FAILED)
    console.print(f"The best weights are in {out}", highlight=False, soft_wrap=True, markup=False)
