"""`tubelet models`: the published networks: which there are, what they cost, and fetching them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tubelet.api.cli.app import AsJson, app, console, notices, print_json

if TYPE_CHECKING:
    from tubelet.model.checkpoints.bundled import CheckpointInfo

models_app = typer.Typer(help="List, fetch and describe the published networks.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Name = Annotated[str, typer.Argument(help="A published name, OWNER/NAME on the hub, or a folder.")]


@models_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the models that ship and the published ones, and which of them are on this machine."""
    from tubelet.api.model_json import list_models

    rows = list_models()
    if as_json:
        print_json({"models": rows})
        return
    table = Table("model", "what it is", "on this machine")
    for row in rows:
        table.add_row(str(row["name"]), str(row["about"]), "yes" if row["pulled"] else "no")
    console.print(table)


@models_app.command("pull")
def pull_command(name: Name) -> None:
    """Fetch a model from the hub, saying first what and how large."""
    from tubelet.model.checkpoints.bundled import find_bundled, is_bundled
    from tubelet.model.pixelrefer.catalogue import pull_model
    from tubelet.model.tracking.sam2.weights import KNOWN_CHECKPOINTS

    if is_bundled(name):  # nothing to fetch
        typer.echo(str(find_bundled(name)))
        return
    repository = KNOWN_CHECKPOINTS.get(name, name)
    folder = pull_model(repository, say=lambda text: notices.print(text, markup=False, soft_wrap=True))
    typer.echo(str(folder))


@models_app.command("info")
def info_command(name: Name, as_json: AsJson = False) -> None:
    """Tell what a model is made of: parameters by part, types, bytes; of captioners the FLOPs of a request.

    A published describing model that is not on this machine is told from its known shape.
    """
    from tubelet.model.checkpoints.bundled import describe_folder
    from tubelet.model.pixelrefer.catalogue import describe_model

    folder = _find_tracker(name)
    if folder is not None:
        _tell_checkpoint(describe_folder(name, folder), as_json=as_json)
        return
    info = describe_model(name)
    if as_json:
        print_json(
            {
                "name": info.name,
                "folder": None if info.folder is None else str(info.folder),
                "parameters": dict(info.parameters),
                "dtypes": info.dtypes,
                "num_bytes": info.num_bytes,
                "cost": asdict(info.cost),
            }
        )
        return
    where = "not on this machine; known shape" if info.folder is None else str(info.folder)
    table = Table("part", "parameters", title=f"{info.name} ({where})", title_justify="left")
    table.columns[1].justify = "right"
    for part, number in info.parameters.items():
        table.add_row(part, f"{number / 1e6:,.1f} M")
    table.add_section()
    table.add_row("all", f"{info.num_parameters / 1e6:,.1f} M")
    console.print(table)
    cost = info.cost
    console.print(
        f"{info.num_bytes / 1e9:.2f} GB as {', '.join(info.dtypes)}\n"
        f"One request, {cost.num_frames} frames, {cost.num_new_tokens} tokens of answer:"
        f" {cost.total() / 1e12:.2f} TFLOPs",
        highlight=False,
    )


def _find_tracker(name: str) -> Path | None:
    """The folder of a name that stands for a SAM 2; None for all others, those not on this machine too."""
    from tubelet.model.checkpoints.bundled import is_bundled
    from tubelet.model.tracking.sam2.weights import KNOWN_CHECKPOINTS, MODEL_TYPE, find_folder
    from tubelet.model.weight_files import read_json

    if not (is_bundled(name) or name in KNOWN_CHECKPOINTS or Path(name).is_dir()):
        return None
    folder = find_folder(name)
    config = folder / "config.json"
    is_tracker = config.is_file() and read_json(config).get("model_type") == MODEL_TYPE
    return folder if is_tracker else None


def _tell_checkpoint(info: CheckpointInfo, *, as_json: bool) -> None:
    """Tell what is known of a checkpoint whose cost nobody computes."""
    card = None if info.model_card is None else str(info.model_card)
    if as_json:
        print_json(
            {
                "name": info.name,
                "folder": str(info.folder),
                "parameters": dict(info.parameters),
                "dtypes": info.dtypes,
                "num_bytes": info.num_bytes,
                "model_card": card,
            }
        )
        return
    table = Table("part", "parameters", title=f"{info.name} ({info.folder})", title_justify="left")
    table.columns[1].justify = "right"
    for part, number in info.parameters.items():
        table.add_row(part, f"{number / 1e6:,.1f} M")
    table.add_section()
    table.add_row("all", f"{info.num_parameters / 1e6:,.1f} M")
    console.print(table)
    told = f"{info.num_bytes / 1e6:.1f} MB as {', '.join(info.dtypes)}"
    console.print(told if card is None else f"{told}\nModel card: {card}", highlight=False, soft_wrap=True)
