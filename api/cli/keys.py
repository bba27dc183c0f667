"""`tubelet keys`: who may call the HTTP service, and what they may do."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tubelet.api.cli.app import AsJson, Config, Home, app, console, notice, print_json
from tubelet.api.keys import DEFAULT_TENANT, SCOPES, KeyFile, find_key_file
from tubelet.api.quotas import QUOTAS, parse_quotas
from tubelet.settings import load_settings

keys_app = typer.Typer(help="Make, list and remove keys of the HTTP service.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command("add")
def add_command(
    name: Annotated[str, typer.Argument(help="Whom it is for.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help=f"What it may do: {', '.join(SCOPES)}; may be repeated. [default: search]"
        ),
    ] = None,
    tenant: Annotated[
        str, typer.Option(help="Whose videos it sees; another name has a home of its own.")
    ] = DEFAULT_TENANT,
    quotas: Annotated[
        list[str] | None,
        typer.Option(
            "--quota",
            metavar="NAME=NUMBER",
            help=f"How much it may use: {', '.join(f'{name} ({about})' for name, about in QUOTAS.items())}; "
            "may be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Make a key and print it. It is kept nowhere: only its hash is.

    Example: [bold]tubelet keys add lab --scope search --scope submit[/]
    """
    keys = KeyFile(find_key_file(load_settings({"home": home}, config=config)))
    limits = parse_quotas(quotas or ())
    key = keys.add(name, tenant=tenant, scopes=scopes or ["search"], quotas=limits)
    if as_json:
        told = {"key": key, "name": name, "tenant": tenant, "scopes": scopes or ["search"]}
        print_json({**told, "quotas": limits})
    else:
        typer.echo(key)
        notice("made", "keep it: it cannot be shown again", "green")


@keys_app.command("list")
def list_command(as_json: AsJson = False, home: Home = None, config: Config = None) -> None:
    """List the keys, without the keys themselves."""
    keys = KeyFile(find_key_file(load_settings({"home": home}, config=config))).list()
    if as_json:
        rows = [asdict(key) for key in keys]
        for row in rows:
            del row["digest"]
        print_json({"keys": rows})
        return
    table = Table("id", "name", "tenant", "scopes", "quotas", "made")
    for key in keys:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.created_s))
        quotas = ", ".join(f"{name}={limit:g}" for name, limit in key.quotas.items())
        table.add_row(key.key_id, escape(key.name), key.tenant, ", ".join(key.scopes), quotas, made)
    console.print(table)


@keys_app.command("remove")
def remove_command(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `tubelet keys list` shows.")],
    home: Home = None,
    config: Config = None,
) -> None:
    """Remove a key; requests that show it are refused from then on."""
    removed = KeyFile(find_key_file(load_settings({"home": home}, config=config))).remove(key_id)
    console.print(f"{removed.key_id} ({escape(removed.name)}) is removed.", highlight=False)
