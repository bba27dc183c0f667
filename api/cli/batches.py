"""Batches: `tubelet submit`, `work`, `status`, `cancel`, `pause`, `resume`, `retry` and `logs`."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tubelet.api.batch_json import batch_to_json, json_to_progress, progress_to_json
from tubelet.api.cli.app import (
    EXIT_SOME_FAILED,
    AsJson,
    Config,
    Home,
    MetricsPort,
    Server,
    app,
    console,
    format_time,
    notice,
    notices,
    print_json,
    start_logging,
)
from tubelet.api.cli.remote import open_client
from tubelet.errors import InputError
from tubelet.orchestration.batches import steer_batch, submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, Control, ItemState
from tubelet.orchestration.progress import ENDED, STAGES, BatchProgress, measure_batch
from tubelet.settings import Settings, load_settings

if TYPE_CHECKING:
    from tubelet.api.client import Client

BatchId = Annotated[
    str, typer.Argument(metavar="BATCH", help="The id that submit printed, or how it begins.")
]

FAILED: tuple[ItemState, ...] = ("failed",)
WATCH_S = 1.0
NUM_SHOWN = 20
MAX_DEAD = 10_000


@app.command("submit")
def submit_command(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files, folders, globs, s3:// objects, prefixes and globs, manifests."),
    ],
    profile: Annotated[str | None, typer.Option(help="A named set of models.")] = None,
    sample_fps: Annotated[float | None, typer.Option(help="Frames looked at in a second.")] = None,
    chunk_s: Annotated[float | None, typer.Option(help="Seconds in a chunk.")] = None,
    priority: Annotated[int, typer.Option(help="Higher goes first, -100 to 100.")] = 0,
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    key: Annotated[
        str, typer.Option(help="Idempotency key: submitting again under it gives the same batch.")
    ] = "",
    as_json: AsJson = False,
    server: Server = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Ask for videos to be indexed, and return at once. `tubelet work` does the work.

    The options are frozen into the batch. Example: [bold]tubelet submit 's3://archive/2026/**'[/]
    """
    options = {"profile": profile, "sample_fps": sample_fps, "chunk_s": chunk_s}
    settings = load_settings({"home": home, "server": server, **options}, config=config)
    if settings.server:
        with open_client(settings) as client:
            given = {option: value for option, value in options.items() if value is not None}
            taken = client.submit(
                [_send(source, client) for source in sources],
                name=name,
                priority=priority,
                options=given,
                idempotency_key=key,
            )
        _print_submitted(dict(taken), as_json=as_json)
        return
    with _open(settings) as ledger:
        batch = submit_batch(
            [_make_absolute(source) for source in sources],
            settings=settings,
            ledger=ledger,
            name=name,
            priority=priority,
            idempotency_key=key,
        )
    _print_submitted(batch_to_json(batch), as_json=as_json)


@app.command("work")
def work_command(
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when no batch has anything left to do.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Worker processes. [default: half the cores]")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every video.")] = False,
    metrics_port: MetricsPort = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Work on the batches that were submitted, until stopped.

    Ctrl-C or SIGTERM lets the units that run end first.
    """
    flags = {"home": home, "workers": workers, "metrics_port": metrics_port}
    settings = load_settings(flags, config=config)
    start_logging(settings)
    if verbose:
        logging.getLogger("tubelet").setLevel(logging.INFO)
    from tubelet.orchestration.service import WorkService

    stop = threading.Event()
    with _open(settings) as ledger, _stopping_gently(stop), _measured(settings, ledger):
        WorkService(settings, ledger, stop=stop).run(until_idle=until_idle)
    console.print("Stopped." if stop.is_set() else "Nothing is left to do.")


@app.command("status")
def status_command(
    batch_id: Annotated[str, typer.Argument(metavar="[BATCH]", help="One batch, with its stages.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until it has ended.")] = False,
    as_json: AsJson = False,
    server: Server = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Show how far batches are. Exit code 3 for a batch in which some source failed."""
    settings = load_settings({"home": home, "server": server}, config=config)
    if settings.server:
        _show_remote(batch_id, settings, watch=watch, as_json=as_json)
        return
    with _open(settings) as ledger:
        if not batch_id:
            shown = [measure_batch(batch, ledger) for batch in ledger.list_batches(limit=NUM_SHOWN)]
            if as_json:
                print_json([progress_to_json(progress) for progress in shown])
            else:
                console.print(_tabulate(shown))
            return
        progress = measure_batch(_find(batch_id, ledger), ledger)
        if watch:
            progress = _watch(progress, ledger)
        if as_json:
            print_json(progress_to_json(progress))
        elif not watch:
            _print_batch(progress)
        for item in ledger.list_items(progress.batch.batch_id, states=FAILED, limit=NUM_SHOWN):
            notice("failed", f"{item.uri}: {item.reason}", "bold red")
    if progress.counts.failed or progress.batch.listing_error:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command("cancel")
def cancel_command(batch_id: BatchId, home: Home = None, config: Config = None) -> None:
    """End a batch: what waits is not done, what is indexed stays. One that has ended stays as it is."""
    _set_control(batch_id, "cancelled", home, config)


@app.command("pause")
def pause_command(batch_id: BatchId, home: Home = None, config: Config = None) -> None:
    """Hold a batch: units that run are ended, no others begin."""
    _set_control(batch_id, "paused", home, config)


@app.command("resume")
def resume_command(batch_id: BatchId, home: Home = None, config: Config = None) -> None:
    """Let a batch go on that was paused."""
    _set_control(batch_id, "running", home, config)


@app.command("retry")
def retry_command(batch_id: BatchId, home: Home = None, config: Config = None) -> None:
    """Let the failed sources of a batch run again, from what is done of them."""
    with _open(load_settings({"home": home}, config=config)) as ledger:
        number = ledger.retry(_find(batch_id, ledger).batch_id)
    console.print(f"{number} to be tried again.", highlight=False)


@app.command("logs")
def logs_command(
    batch_id: BatchId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the batch has ended.")] = False,
    dead: Annotated[
        bool,
        typer.Option("--dead", help="The units that failed for good; with --json, whole."),
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Print what happened in a batch, one line an event."""
    with _open(load_settings({"home": home}, config=config)) as ledger:
        batch = _find(batch_id, ledger)
        if dead:
            _print_dead(batch, ledger, as_json=as_json)
            return
        after = 0
        while True:
            has_ended = measure_batch(batch, ledger).state in ENDED
            while events := ledger.list_events(batch.batch_id, after=after):
                after = events[-1].number
                for event in events:
                    if as_json:
                        print_json(asdict(event))
                    else:
                        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time_s))
                        typer.echo(f"{stamp} {event.level:7s} {event.text}")
            if not follow or has_ended:
                return
            time.sleep(WATCH_S)


def _print_dead(batch: Batch, ledger: Ledger, *, as_json: bool) -> None:
    """The dead letters of a batch; as JSON with all that running one again needs."""
    units = ledger.list_dead(batch.batch_id, limit=MAX_DEAD)
    jobs = ledger.get_jobs({unit.job_id for unit in units})
    for unit in units:
        job = jobs[unit.job_id]
        if as_json:
            print_json({**asdict(unit), "job": asdict(job)})
        else:
            text = f"{job.uri}: {unit.error_class}, {unit.attempts} attempts, the last by {unit.owner}"
            typer.echo(f"{unit.unit_id} {text}: {unit.error}")


@contextmanager
def _open(settings: Settings) -> Iterator[Ledger]:
    with closing(open_ledger(settings.ledger_location)) as ledger:
        yield ledger


@contextmanager
def _measured(settings: Settings, ledger: Ledger) -> Iterator[None]:
    """Serve metrics, if that is asked for."""
    if settings.metrics_port is None:
        yield
        return
    from tubelet.orchestration.watching.serving import make_work_registry, serving_metrics

    with serving_metrics(settings, make_work_registry(settings, ledger)) as address:
        notice("metrics", address, "green")
        yield


@contextmanager
def _stopping_gently(stop: threading.Event) -> Iterator[None]:
    def end(number: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        notice("stopping", "after the units that run; once more stops at once", "yellow")
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_submitted(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        console.print(told["batch_id"], highlight=False)
        notice("submitted", f"now or later: tubelet work, and tubelet status {told['batch_id']}", "green")


def _send(source: str, client: Client) -> str:
    """What a service on another machine is given: files of this one are uploaded."""
    path = Path(source)
    return client.upload(path)["source"] if "://" not in source and path.is_file() else source


def _show_remote(batch_id: str, settings: Settings, *, watch: bool, as_json: bool) -> None:
    with open_client(settings) as client:
        if not batch_id:
            told = client.list_batches(limit=NUM_SHOWN)["batches"]
            if as_json:
                print_json(told)
            else:
                console.print(_tabulate([json_to_progress(dict(each)) for each in told]))
            return
        state = client.get_batch(batch_id)
        if watch:
            for state in client.watch(batch_id):
                if not as_json:
                    counts = state["counts"]
                    notices.print(f"{state['state']}: {counts['done']} of {counts['found']}", highlight=False)
        failed = client.list_items(batch_id, states=FAILED, limit=NUM_SHOWN)["items"]
    if as_json:
        print_json(state)
    else:
        _print_batch(json_to_progress(dict(state)))
    for item in failed:
        notice("failed", f"{item['uri']}: {item['reason']}", "bold red")
    if state["counts"]["failed"] or state["listing_error"]:
        raise typer.Exit(EXIT_SOME_FAILED)


def _make_absolute(source: str) -> str:
    """A path as any process finds it, wherever it runs; addresses stay."""
    return source if "://" in source or source.startswith("manifest:") else str(Path(source).absolute())


def _find(batch_id: str, ledger: Ledger) -> Batch:
    """The batch with an id, or with the one id that begins so."""
    if batch := ledger.get_batch(batch_id):
        return batch
    found = [batch for batch in ledger.list_batches() if batch_id and batch.batch_id.startswith(batch_id)]
    if len(found) == 1:
        return found[0]
    raise InputError(
        f"{len(found) or 'No'} batches have an id that begins with {batch_id!r}",
        expected="the id of one batch",
        do="see `tubelet status`",
    )


def _set_control(batch_id: str, control: Control, home: Path | None, config: Path | None) -> None:
    with _open(load_settings({"home": home}, config=config)) as ledger:
        batch = _find(batch_id, ledger)
        steer_batch(batch, ledger, control)
        progress = measure_batch(_find(batch.batch_id, ledger), ledger)
    console.print(f"{batch.batch_id} is {progress.state}.", highlight=False)


def _tabulate(shown: list[BatchProgress]) -> Table:
    """A row a batch; counts that are 0 in all of them are left out, so that 80 columns suffice."""
    table = Table(title="Batches", title_justify="left")
    table.add_column("batch", no_wrap=True)
    table.add_column("name", no_wrap=True, max_width=24)
    table.add_column("state", no_wrap=True)
    names = ("found", "skipped", "done", "failed", "cancelled", "waiting")
    counted = [name for name in names if any(getattr(progress.counts, name) for progress in shown)]
    for column in (*counted, "time left"):
        table.add_column(column, justify="right")
    for progress in shown:
        left = "" if progress.left_s is None else format_time(progress.left_s)
        numbers = (str(getattr(progress.counts, name)) for name in counted)
        table.add_row(progress.batch.batch_id, escape(progress.batch.name), progress.state, *numbers, left)
    return table


def _tabulate_stages(progress: BatchProgress) -> Table:
    table = Table()
    for column in ("stage", "done", "running", "waiting", "failed", "rate of a worker", "time left"):
        table.add_column(column)
    for stage in progress.stages:
        unit = "x real time" if stage.kind == "chunk" else " a second"
        table.add_row(
            STAGES[stage.kind],
            str(stage.progress.done),
            str(stage.progress.running),
            str(stage.progress.waiting),
            str(stage.progress.failed),
            "" if stage.rate is None else f"{stage.rate:.1f}{unit}",
            "" if stage.left_s is None else format_time(stage.left_s),
        )
    return table


def _print_batch(progress: BatchProgress) -> None:
    console.print(_tabulate([progress]))
    console.print(_tabulate_stages(progress))
    if progress.batch.listing_error:
        notice("not all sources were found:", progress.batch.listing_error, "bold red")


def _watch(progress: BatchProgress, ledger: Ledger) -> BatchProgress:
    with Live(_tabulate([progress]), console=console, transient=True) as live:
        while progress.state not in ENDED:
            time.sleep(WATCH_S)
            progress = measure_batch(_find(progress.batch.batch_id, ledger), ledger)
            grid = Table.grid()
            grid.add_row(_tabulate([progress]))
            grid.add_row(_tabulate_stages(progress))
            live.update(grid)
    _print_batch(progress)
    return progress
