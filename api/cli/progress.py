"""Progress on the terminal: how far, how fast, how long still. Silent when piped."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tubelet.api.cli.app import format_time, notice, notices
from tubelet.records import VideoReport


class _RateColumn(ProgressColumn):
    """Seconds of video a second of time."""

    def render(self, task: Task) -> Text:
        speed = task.speed or task.finished_speed
        return Text(f"{speed:.1f}x real time" if speed else "", style="progress.data.speed")


def make_progress() -> Progress:
    """A bar counted in seconds of video."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=notices,
        disable=not notices.is_terminal,
        transient=True,
    )


class IndexProgress:
    """Shows an indexing run: one bar over all its videos, one line for each that ends."""

    def __init__(self) -> None:
        self._progress = make_progress()
        self._task = self._progress.add_task("Looking for videos", total=None)
        self._total_s = 0.0
        self._num_ended = 0
        self._num_found = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def on_source_found(self, uri: str) -> None:
        """Count it."""
        self._num_found += 1
        self._describe()

    def on_video_planned(self, uri: str, duration_s: float) -> None:
        """Lengthen the bar."""
        self._total_s += duration_s
        self._progress.update(self._task, total=self._total_s)

    def on_progress(self, done_s: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done_s)

    def on_video_ended(self, report: VideoReport) -> None:
        """Say how one source ended."""
        self._num_ended += 1
        self._describe()
        if not notices.is_terminal:
            return
        if report.state == "indexed":
            length = format_time(report.duration_s)
            found = f"{report.num_objects} objects, {report.num_moments} moments in {length}"
            notice("indexed", f"{report.uri}: {found}", "green")
        elif report.state == "skipped":
            notice("skipped", f"{report.uri}: {report.reason}", "dim")

    def _describe(self) -> None:
        self._progress.update(self._task, description=f"Video {self._num_ended} of {self._num_found}")
