"""`tubelet train describe`: make the bundled describer, or train one further on data of one's own."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import typer

from tubelet.api.cli.app import EXIT_FAILED, console
from tubelet.api.cli.train import train_app
from tubelet.errors import InputError


@train_app.command("describe")
def describe_command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the checkpoint and the run.", metavar="DIR")],
    data: Annotated[
        str, typer.Option(help="`rendered`, or a JSON file in the published format.", metavar="DATA")
    ] = "rendered",
    recipe: Annotated[str, typer.Option(help="With rendered data: which recipe.")] = "small",
    init: Annotated[
        str | None,
        typer.Option(help="With a JSON file: begin with these weights, a folder or a model pulled before."),
    ] = None,
    stage: Annotated[
        int, typer.Option(help="With a JSON file: 1 object perception, 2 instruction.", min=1, max=2)
    ] = 2,
    media: Annotated[
        Path | None,
        typer.Option("--media", help="Folder of the file's videos and images, if another.", metavar="DIR"),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option("--held-out", help="Samples to evaluate on: the best weights are kept.", metavar="FILE"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps instead of epochs.", min=1)] = None,
    epochs: Annotated[float, typer.Option(help="How often each sample is seen.", min=0.01)] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Samples in one pass.", min=1)] = 4,
    global_batch: Annotated[int, typer.Option(help="Samples in one step.", min=1)] = 256,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--rate",
            help="A part's learning rate, 0 to freeze it: vision, projector, region-encoder, decoder.",
            metavar="PART=RATE",
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    work: Annotated[
        Path | None,
        typer.Option("--work", help="With rendered data: folder for what is rendered.", metavar="DIR"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, data and order.", min=0)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train PixelRefer-Lite to describe objects and to answer questions about them.

    With rendered data a small model is made from nothing, through all stages. With a JSON file a checkpoint
    is trained further by the published schedule. SIGTERM stops after a save.

    Example: [bold]tubelet train describe --data mine.json --init PixelRefer-Lite-2B --out my-describer[/]
    """
    logging.getLogger("tubelet").setLevel(logging.INFO)
    if data == "rendered":
        if init is not None:
            raise InputError(
                "--init is given with rendered data",
                expected="a JSON file: the recipe begins from nothing",
                do="add --data FILE, or drop --init",
            )
        reasons = _make_small(recipe, out, work or out / "work", seed=seed, resume=resume)
    else:
        if init is None:
            raise InputError("--init is missing", expected="weights to train further", do="name a checkpoint")
        reasons = _tune(
            Path(data),
            init,
            out,
            media=media,
            held_out=held_out,
            settings={
                "steps": steps,
                "epochs": epochs,
                "batch_size": batch_size,
                "global_batch": global_batch,
                "rates": _read_rates(rate or []),
                "precision": precision,
                "seed": seed + stage - 1,
            },
            resume=resume,
        )
    if "signal" in reasons:
        console.print("Stopped. The same command with --resume goes on from here.", highlight=False)
        raise typer.Exit(EXIT_FAILED)
    console.print(f"The weights are in {out}", highlight=False, soft_wrap=True, markup=False)


def _make_small(recipe: str, out: Path, work: Path, *, seed: int, resume: bool) -> list[str]:
    from tubelet.errors import SettingsError, UnknownNameError
    from tubelet.model.recognising.bundled import BundledRecogniser
    from tubelet.model.training.describe.recipe import load_small_recipe
    from tubelet.model.training.describe.run import Sources, train_small
    from tubelet.model.training.world import render_clip, render_image, trace_clip
    from tubelet.orchestration.kept_views import keep_views
    from tubelet.workers.evidence import decode_view
    from tubelet.workers.recognise import look_at

    if recipe != "small":
        raise UnknownNameError("training recipe", recipe, ["small"])
    if not resume and (work / "0-vision").exists():
        raise SettingsError(
            f"{work} holds a training run already",
            expected="a new folder",
            do="add --resume to go on with it, or choose another folder",
        )
    looks = partial(look_at, BundledRecogniser())
    sources = Sources(render_clip, render_image, trace_clip, keep_views, decode_view, looks)
    reports = train_small(load_small_recipe(seed=seed), out, work, sources)
    for name, report in reports.items():
        best = "" if report.best is None else f", best {report.best:.3f} at step {report.best_step}"
        console.print(f"{name}: {report.step} steps in {report.seconds:.0f} s{best}", highlight=False)
    return [report.reason for report in reports.values()]


def _tune(
    file: Path,
    init: str,
    out: Path,
    *,
    media: Path | None,
    held_out: Path | None,
    settings: dict[str, object],
    resume: bool,
) -> list[str]:
    from tubelet.model.training.describe.published import read_published
    from tubelet.model.training.describe.tuning import make_settings, tune
    from tubelet.orchestration.frame_files import read_frames, read_picture

    data = read_published(file, media)
    for fault in data.faults:
        console.print(f"sample {fault.number} is left out: {fault.reason}", highlight=False, markup=False)
    if data.faults:
        console.print(f"{len(data.faults)} samples left out, {len(data.samples)} used", highlight=False)
    judged = None if held_out is None else read_published(held_out, media)
    report = tune(
        data,
        init,
        out,
        make_settings(len(data.samples), evaluate=judged is not None, **settings),  # type: ignore[arg-type]
        batch_size=int(str(settings["batch_size"])),
        read_frames=read_frames,
        read_picture=read_picture,
        held_out=judged,
        resume=resume,
    )
    best = "" if report.best is None else f", best loss {report.best:.3f} at step {report.best_step}"
    console.print(f"{report.step} steps in {report.seconds:.0f} s ({report.reason}){best}", highlight=False)
    return [report.reason]


def _read_rates(rates: list[str]) -> dict[str, float]:
    from tubelet.model.training.describe.recipe import Part

    read = {}
    for text in rates:
        part, _, value = text.partition("=")
        try:
            read[part] = float(value)
        except ValueError:
            read[part] = -1.0
        if part not in get_args(Part) or not read[part] >= 0:
            raise InputError(
                f"The rate {text!r} cannot be read",
                expected=f"PART=RATE, with one of {', '.join(get_args(Part))} and 0 or more",
                do="write, for example, --rate vision=2e-6",
            )
    return read
