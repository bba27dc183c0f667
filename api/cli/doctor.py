"""`tubelet doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import typer
from rich.table import Table

from tubelet.api.cli.app import EXIT_FAILED, AsJson, Config, Home, app, console, print_json
from tubelet.errors import TubeletError
from tubelet.settings import Settings, load_settings

MIN_FREE_GB = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `optional` things only cost a feature."""

    check: str
    state: Literal["works", "optional", "broken"]
    found: str
    do: str = ""


@app.command("doctor")
def doctor_command(as_json: AsJson = False, home: Home = None, config: Config = None) -> None:
    """Try every part on this machine and say what to do about what does not work.

    Exit code 1 when something that indexing or searching needs is broken.
    """
    settings = load_settings({"home": home}, config=config)
    findings = [check(settings) for check in CHECKS]
    if as_json:
        print_json({"checks": [asdict(finding) for finding in findings]})
    else:
        table = Table()
        for column in ("check", "", "found", "do"):
            table.add_column(column)
        colour = {"works": "green", "optional": "yellow", "broken": "bold red"}
        for finding in findings:
            state = f"[{colour[finding.state]}]{finding.state}[/]"
            table.add_row(finding.check, state, finding.found, finding.do)
        console.print(table, highlight=False)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def _check_python(settings: Settings) -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("Python", "works" if sys.version_info >= (3, 11) else "broken", found)


def _check_home(settings: Settings) -> Finding:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        return Finding("Home folder", "broken", str(error), "choose another --home or TUBELET_HOME")
    free_gb = shutil.disk_usage(settings.home).free / 1e9
    found = f"{settings.home}, {free_gb:.0f} GB free"
    if free_gb < MIN_FREE_GB:
        return Finding("Home folder", "broken", found, f"free {MIN_FREE_GB} GB, or choose another --home")
    return Finding("Home folder", "works", found)


def _check_video(settings: Settings) -> Finding:
    """Write a small H.264 file and read it back through the decoder process."""
    import numpy as np

    from tubelet.workers.frames import Frames
    from tubelet.workers.probe import probe_video
    from tubelet.workers.reopen import find_source
    from tubelet.workers.s3 import S3Options
    from tubelet.workers.video_writer import VideoWriter

    with tempfile.TemporaryDirectory(prefix="tubelet-doctor-") as folder:
        path = Path(folder) / "test.mp4"
        with VideoWriter(path, width=64, height=64, frame_rate=10) as writer:
            for number in range(10):
                writer.write(np.full((64, 64, 3), 25 * number, np.uint8))
        video = probe_video(path, find_source(str(path), s3=S3Options()), timeout_s=settings.decode_timeout_s)
        with Frames(
            path, video, sample_fps=10, frame_size_px=64, timeout_s=settings.decode_timeout_s
        ) as frames:
            num_frames = sum(1 for _ in frames.read(0.0, video.duration_s))
    if num_frames != 10:
        return Finding("Video decoding", "broken", f"{num_frames} of 10 frames", "reinstall decord2 and av")
    return Finding("Video decoding", "works", "H.264 written, read back in a process of its own")


def _check_models(settings: Settings) -> Finding:
    from tubelet.orchestration.resources import make_captioner, make_embedder, make_tracker

    names = (
        make_tracker(settings).name,
        make_captioner(settings).name,
        make_embedder(settings).name,
    )
    make_embedder(settings).embed(["a red car"])
    return Finding("Models", "works", ", ".join(names))


def _check_index(settings: Settings) -> Finding:
    from tubelet.orchestration.resources import open_index

    with tempfile.TemporaryDirectory(prefix="tubelet-doctor-") as folder:
        open_index(settings.model_copy(update={"index_uri": folder}), create=True)
    return Finding("Index", "works", "LanceDB creates and opens tables")


def _check_gpu(settings: Settings) -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("GPU", "works", torch.cuda.get_device_name())
    return Finding("GPU", "optional", "none; models run on the CPU", "nothing, unless you want larger models")


def _check_s3(settings: Settings) -> Finding:
    import boto3

    endpoint = settings.s3_endpoint_url or "Amazon S3"
    if boto3.Session().get_credentials() is None:
        return Finding(
            "S3",
            "optional",
            f"no credentials for {endpoint}",
            "set AWS_ACCESS_KEY_ID or AWS_PROFILE for s3:// sources",
        )
    return Finding("S3", "works", f"credentials found for {endpoint}")


def _guard(name: str, check: Callable[[Settings], Finding]) -> Callable[[Settings], Finding]:
    """A check that fails is a finding, never the end of the doctor."""

    def run(settings: Settings) -> Finding:
        try:
            return check(settings)
        except TubeletError as error:
            return Finding(name, "broken", str(error), error.do)
        except Exception as error:
            return Finding(name, "broken", f"{type(error).__name__}: {error}", "reinstall: make setup")

    return run


CHECKS = [
    _guard("Python", _check_python),
    _guard("Home folder", _check_home),
    _guard("Video decoding", _check_video),
    _guard("Models", _check_models),
    _guard("Index", _check_index),
    _guard("GPU", _check_gpu),
    _guard("S3", _check_s3),
]
