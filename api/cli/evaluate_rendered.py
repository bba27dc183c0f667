"""`tubelet eval rendered`: score everything on clips that nothing was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tubelet.api.cli.app import AsJson, Config, console, notices, print_json
from tubelet.api.cli.evaluate import eval_app
from tubelet.settings import load_settings

if TYPE_CHECKING:
    from tubelet.orchestration.evaluation.report import PartReport, RenderedReport


@eval_app.command("rendered")
def rendered_command(
    clips: Annotated[int, typer.Option(help="So many clips; search looks through three times as many.")] = 40,
    seed: Annotated[int, typer.Option(help="Number of the first clip.")] = 100_000,
    parts: Annotated[
        str, typer.Option(help="Which parts to run, separated by commas.", metavar="PART,...")
    ] = "tracking,describing,search",
    masks: Annotated[
        str, typer.Option(help="Describe objects under their true masks, tracked ones, or both.")
    ] = "true",
    profile: Annotated[
        str | None, typer.Option(help="A named set of models. [default: bundled]", show_default=False)
    ] = None,
    tracker: Annotated[str | None, typer.Option(help="What finds and follows objects.")] = None,
    captioner: Annotated[str | None, typer.Option(help="What describes them.")] = None,
    recogniser: Annotated[str | None, typer.Option(help="What tells what they are, or none.")] = None,
    tracker_weights: Annotated[str | None, typer.Option(help="Checkpoint of the tracker.")] = None,
    captioner_weights: Annotated[str | None, typer.Option(help="Checkpoint of the captioner.")] = None,
    device: Annotated[str | None, typer.Option(help="Where networks run, as in cuda:0.")] = None,
    java: Annotated[bool, typer.Option("--java", help="Add METEOR 1.5, which needs Java.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report and what was said of each object.", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Score tracking, describing and search on rendered clips of seeds and cameras that training never sees.

    Each number stands with its 95 % interval and what it was counted on. Definitions: docs/evaluation.md.

    Example: [bold]tubelet eval rendered --clips 8 --parts tracking[/]
    """
    from tubelet.orchestration.evaluation.rendered import evaluate_rendered, make_options

    settings = load_settings(
        {
            "profile": profile,
            "tracker": tracker,
            "captioner": captioner,
            "recogniser": recogniser,
            "tracker_weights": tracker_weights,
            "captioner_weights": captioner_weights,
            "device": device,
        },
        config=config,
    )
    options = make_options(clips, seed, parts=parts, masks=masks, java=java, details=out)
    with _ProgressBars() as bars:
        report = evaluate_rendered(settings, options, bars.show)
    if out is not None:
        _save(report, out)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)


class _ProgressBars:
    """One line for what goes on now, on standard error."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=notices,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _ProgressBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, name: str, done: int, of: int) -> None:
        """What is going on, and how much of it is done."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=of)
        self._progress.update(self._tasks[name], completed=done, total=of)


def _print_report(report: RenderedReport) -> None:
    for part in report.parts:
        _print_part(part)
    models = ", ".join(f"{kind} {name}" for kind, name in report.models.items())
    clips = ", ".join(f"{name} {value}" for name, value in report.clips.items())
    console.print(f"{models}\nclips: {clips}", highlight=False, soft_wrap=True, markup=False)


def _print_part(part: PartReport) -> None:
    from tubelet.orchestration.evaluation.report import format_counts, format_figure

    table = Table(
        "measure",
        *part.subjects,
        "over",
        title=f"{part.name} ({part.seconds:.0f} s)",
        title_justify="left",
    )
    for measure, by_subject in part.rows.items():
        cells = [
            format_figure(by_subject[subject]) if subject in by_subject else "" for subject in part.subjects
        ]
        table.add_row(measure, *cells, format_counts(by_subject))
    console.print(table)
    for remark in part.remarks:
        console.print(remark, highlight=False, soft_wrap=True, markup=False)


def _save(report: RenderedReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(report.to_markdown(), encoding="utf-8")
