"""`tubelet models`: the published networks: which there are, what they cost, and fetching them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from tubelet.api.cli.app import AsJson, app, console, notices, print_json

models_app = typer.Typer(help="List, fetch and describe the published networks.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Name = Annotated[str, typer.Argument(help="A published name, OWNER/NAME on the hub, or a folder.")]


@models_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the published models, and which of them are on this machine."""
    from tubelet.model.pixelrefer.catalogue import KNOWN_MODELS, is_pulled
    from tubelet.model.tracking.sam2.weights import KNOWN_CHECKPOINTS

    rows = [{"name": name, "about": about, "pulled": is_pulled(name)} for name, about in KNOWN_MODELS.items()]
    rows += [
        {"name": name, "about": "tracker, SAM 2.1", "pulled": is_pulled(repository)}
        for name, repository in KNOWN_CHECKPOINTS.items()
    ]
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
    from tubelet.model.pixelrefer.catalogue import pull_model
    from tubelet.model.tracking.sam2.weights import KNOWN_CHECKPOINTS

    repository = KNOWN_CHECKPOINTS.get(name, name)
    folder = pull_model(repository, say=lambda text: notices.print(text, markup=False, soft_wrap=True))
    typer.echo(str(folder))


@models_app.command("info")
def info_command(name: Name, as_json: AsJson = False) -> None:
    """Tell what a describing model is made of: parameters by part, types, bytes, FLOPs of one request.

    A published model that is not on this machine is told from its known shape.
    """
    from tubelet.model.pixelrefer.catalogue import describe_model

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
