"""One typed object for every setting, read once, from flags, environment and a TOML file.

Precedence, strongest first: flags, `TUBELET_*` variables, the TOML file (`--config`, `TUBELET_CONFIG`, or
`tubelet.toml` in the home folder), defaults. Unknown names are refused wherever they come from.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from tubelet.errors import SettingsError, UnknownNameError

ENVIRONMENT_PREFIX = "TUBELET_"
CONFIG_VARIABLE = "TUBELET_CONFIG"


def _split(value: Any) -> Any:
    """Names from text with commas between; TOML may also list them."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


def _read_bounds(value: Any) -> Any:
    """Two numbers from `2` or `0-4`; none from nothing."""
    if not isinstance(value, (str, int)):
        return value
    least, dash, most = str(value).partition("-")
    return (least, most if dash else least) if value != "" else None


def _check_bounds(bounds: tuple[int, int] | None) -> tuple[int, int] | None:
    if bounds is not None and not (0 <= bounds[0] <= bounds[1] and 1 <= bounds[1] <= 100_000):
        raise ValueError("the least must not be above the most, nor the most below 1")
    return bounds


Bounds = Annotated[tuple[int, int] | None, BeforeValidator(_read_bounds), AfterValidator(_check_bounds)]


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole set of models under one name."""

    tracker: str
    captioner: str
    embedder: str
    about: str
    tracker_weights: str = ""
    captioner_weights: str = ""
    recogniser: str = "efficientnet-lite0"


PROFILES: Mapping[str, Profile] = {
    "bundled": Profile(
        "sam2",
        "pixelrefer-lite",
        "minilm",
        "CPU, nothing to download; SAM 2 and PixelRefer-Lite, small, which ship, and what was measured",
        "sam2-small",
        "pixelrefer-lite-small",
    ),
    "quick": Profile(
        "motion",
        "attributes",
        "minilm",
        "CPU, nothing to download, fixed cameras: what moves, at less than half the cost",
    ),
    "measured": Profile(
        "motion",
        "attributes",
        "minilm",
        "CPU, nothing to download, fixed cameras: what moves and what was measured, no guess at what it is",
        recogniser="none",
    ),
    "standard": Profile(
        "sam2",
        "pixelrefer-lite",
        "minilm",
        "one GPU; SAM 2.1 small and PixelRefer-Lite-2B, pulled before",
        "sam2.1-hiera-small",
        "PixelRefer-Lite-2B",
    ),
    "large": Profile(
        "sam2",
        "pixelrefer-lite",
        "minilm",
        "one large GPU; SAM 2.1 large and PixelRefer-Lite-7B, pulled before",
        "sam2.1-hiera-large",
        "PixelRefer-Lite-7B",
    ),
}


class Settings(BaseModel):
    """Every setting, checked. Fields left empty take the profile's choice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path = Field(
        default_factory=lambda: Path.home() / ".tubelet",
        description="Folder of the index, the work store and the ledger.",
    )
    profile: str = Field("bundled", description="A named set of tracker, captioner, embedder and recogniser.")
    tracker: str = Field("", description="Tracker name, or package.module:factory. Empty: the profile's.")
    captioner: str = Field("", description="Captioner name, or package.module:factory. Empty: the profile's.")
    embedder: str = Field("", description="Text embedder name. Empty: the profile's.")
    recogniser: str = Field(
        "", description="What tells what objects are, package.module:factory, or none. Empty: the profile's."
    )
    tracker_weights: str = Field("", description="Checkpoint of the tracker: folder or published name.")
    captioner_weights: str = Field("", description="Checkpoint of the captioner: folder or published name.")
    device: str = Field("", description="Where networks run, as in cuda:0. Empty: a GPU if there is one.")
    sample_fps: float = Field(6.0, gt=0, le=120, description="Frames looked at in a second of video.")
    frame_size_px: int = Field(
        768, ge=64, le=8192, description="Longest side of the frames that are tracked."
    )
    chunk_s: float = Field(60.0, ge=1, le=3600, description="Length of a chunk in seconds.")
    margin_s: float = Field(4.0, ge=0, le=60, description="Overlap of a chunk with each neighbour.")
    rejoin_s: float = Field(
        10.0, ge=0, le=600, description="An object that is away for longer is another one when it returns."
    )
    max_moment_s: float = Field(10.0, ge=1, le=600, description="A moment is never longer.")
    workers: int = Field(0, ge=0, le=1024, description="Worker processes; 0 chooses by the cores.")
    max_attempts: int = Field(3, ge=1, le=100, description="Tries for a unit that may succeed another time.")
    shrink: int = Field(
        0, ge=0, le=30, description="Halve what goes through a network at once, so many times."
    )
    decode_timeout_s: float = Field(60.0, gt=0, description="The decoder is stopped when silent for longer.")
    decoder: Literal["pyav", "decord2"] = Field(
        "pyav", description="Who decodes; both give the same pictures (docs/benchmarks.md)."
    )
    ledger: str = Field("", description="File or redis:// address of the ledger. Empty: HOME/ledger.sqlite.")
    executor: Literal["local", "celery", "ray"] = Field(
        "local", description="Where units of work run: local processes, Celery workers, or actors of Ray."
    )
    broker: str = Field(
        "", description="redis:// address of Celery's queues. Empty: the ledger's, when that is Redis."
    )
    ray_address: str = Field(
        "", description="HOST:PORT of a Ray cluster that this machine belongs to, or auto. Empty: start one."
    )
    ray_plan_actors: Bounds = Field(None, description="Actors that open videos, as in 0-2. Empty: 0-1.")
    ray_chunk_actors: Bounds = Field(None, description="Actors that track, as in 1-8. Empty: 0-workers.")
    ray_video_actors: Bounds = Field(None, description="Actors that describe, as in 1-4. Empty: 0-workers.")
    ray_cpus: float = Field(1.0, ge=0.01, le=1024, description="Processors that Ray keeps for an actor.")
    ray_chunk_gpus: float = Field(0.0, ge=0, le=8, description="Share of a GPU for an actor that tracks.")
    ray_video_gpus: float = Field(0.0, ge=0, le=8, description="Share of a GPU for an actor that describes.")
    captioner_app: str = Field(
        "", description="Ray Serve application that describes for this process. Empty: a model of its own."
    )
    captioner_replicas: Bounds = Field(None, description="Copies of the model it runs, as in 1-4. Empty: 1.")
    captioner_gpus: float = Field(0.0, ge=0, le=64, description="GPUs, or the share of one, of such a copy.")
    captioner_batch: int = Field(16, ge=1, le=1024, description="Objects it describes at once.")
    captioner_queue: int = Field(
        256, ge=1, le=1_000_000, description="Objects of one caller that may wait for it; more are refused."
    )
    lease_s: float = Field(
        60.0, ge=1, le=3600, description="A worker that is silent for longer has lost its unit."
    )
    retry_base_s: float = Field(
        2.0,
        ge=0,
        le=300,
        description="Longest wait before the second attempt; doubled with every further one.",
    )
    keep_chunks: bool = Field(False, description="Keep chunk results after the video is committed.")
    work_uri: str = Field("", description="Folder or s3:// address of chunk results. Empty: HOME/work.")
    copies_gb: float = Field(
        20.0, ge=0, le=1e6, description="Room for copies of S3 videos on this machine, in GB."
    )
    index_uri: str = Field("", description="Folder or s3:// address of the index. Empty: HOME/index.")
    s3_endpoint_url: str = Field("", description="S3 endpoint when it is not Amazon's.")
    s3_region: str = Field("", description="S3 region. Empty: boto3's own choice.")
    log_format: Literal["text", "json"] = Field(
        "text", description="Logs for people, or JSON lines with the ids of batch, video, unit and request."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="Least level of what is logged."
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of metrics for Prometheus; 0 takes a free one. Empty: none."
    )
    metrics_host: str = Field("127.0.0.1", description="Address that the metrics are served at.")
    traces: str = Field("", description="OTLP address that traces go to, as in http://127.0.0.1:4318.")
    server: str = Field("", description="Service that commands ask, as in http://127.0.0.1:8000.")
    server_key: str = Field("", repr=False, description="Key that they show it.")
    api_keys: str = Field("", description="File of the HTTP service's keys. Empty: HOME/keys.json.")
    api_sources: Names = Field(
        (), description="Folders and s3:// addresses that callers may submit, comma-separated; * is all."
    )
    api_uploads: str = Field("", description="Folder or s3:// address of uploads. Empty: HOME/uploads.")
    api_uploads_endpoint_url: str = Field(
        "", description="S3 endpoint at which callers reach uploads. Empty: s3_endpoint_url."
    )
    api_upload_gb: float = Field(10.0, gt=0, le=5000, description="Largest upload, in GB.")
    api_rate: str = Field("600/minute", description="Requests that one key may make, as in 600/minute.")
    api_quotas: Names = Field(
        (), description="Quotas of a key that has none of its own, as in videos=1000,upload_gb=50."
    )
    api_origins: Names = Field((), description="Web origins that may call the service, comma-separated.")
    api_webhook_hosts: Names = Field(
        (), description="Hosts that webhooks may reach at private addresses, comma-separated."
    )

    @field_validator("home")
    @classmethod
    def _expand_home(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("profile")
    @classmethod
    def _check_profile(cls, profile: str) -> str:
        if profile not in PROFILES:
            raise UnknownNameError("profile", profile, PROFILES)
        return profile

    @property
    def tracker_name(self) -> str:
        return self.tracker or PROFILES[self.profile].tracker

    @property
    def captioner_name(self) -> str:
        return self.captioner or PROFILES[self.profile].captioner

    @property
    def embedder_name(self) -> str:
        return self.embedder or PROFILES[self.profile].embedder

    @property
    def recogniser_name(self) -> str:
        return self.recogniser or PROFILES[self.profile].recogniser

    @property
    def tracker_checkpoint(self) -> str:
        """The weights that are set; else the profile's, if they are for this tracker."""
        profile = PROFILES[self.profile]
        return self.tracker_weights or (
            profile.tracker_weights if self.tracker_name == profile.tracker else ""
        )

    @property
    def captioner_checkpoint(self) -> str:
        """The weights that are set; else the profile's, if they are for this captioner."""
        profile = PROFILES[self.profile]
        return self.captioner_weights or (
            profile.captioner_weights if self.captioner_name == profile.captioner else ""
        )

    @property
    def index_location(self) -> str:
        return self.index_uri or str(self.home / "index")

    @property
    def ledger_location(self) -> str:
        return self.ledger or str(self.home / "ledger.sqlite")

    @property
    def broker_location(self) -> str:
        """The Redis server with Celery's queues. Raises SettingsError where none is named."""
        address = self.broker or self.ledger_location
        if address.partition("://")[0] in ("redis", "rediss", "unix"):
            return address
        named = "broker names none" if self.broker else "broker is empty, and the ledger is a file"
        raise SettingsError(
            f"There is no Redis server for Celery's queues: {named}",
            expected="redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///SOCKET",
            do="set broker (TUBELET_BROKER), or a ledger on Redis (TUBELET_LEDGER)",
        )

    @property
    def num_workers(self) -> int:
        """Worker processes to start; each has a decoder process beside it, hence half the cores."""
        return self.workers or max(1, len(os.sched_getaffinity(0)) // 2)

    @property
    def options_digest(self) -> str:
        """Names every setting that changes what the rows of a video say."""
        options = {
            "tracker": self.tracker_name,
            "captioner": self.captioner_name,
            "embedder": self.embedder_name,
            "recogniser": self.recogniser_name,
            "tracker_weights": self.tracker_checkpoint,
            "captioner_weights": self.captioner_checkpoint,
            "sample_fps": self.sample_fps,
            "frame_size_px": self.frame_size_px,
            "chunk_s": self.chunk_s,
            "margin_s": self.margin_s,
            "rejoin_s": self.rejoin_s,
            "max_moment_s": self.max_moment_s,
        }
        return hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=8).hexdigest()


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Merge the sources and check the result. Flags that are None count as not given.

    Raises SettingsError for an unknown name, a bad value or an unreadable file, naming where it came from.
    """
    environment = os.environ if environment is None else environment
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}

    from_environment = {
        variable.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for variable, value in environment.items()
        if variable.startswith(ENVIRONMENT_PREFIX) and variable != CONFIG_VARIABLE
    }
    home = Path(given.get("home") or from_environment.get("home") or Path.home() / ".tubelet").expanduser()
    file = config or (Path(environment[CONFIG_VARIABLE]) if CONFIG_VARIABLE in environment else None)
    for values, source in (
        (
            _read_toml(file or home / "tubelet.toml", required=file is not None),
            f"{file or home / 'tubelet.toml'}",
        ),
        (from_environment, "environment"),
        (given, "flag"),
    ):
        for name, value in values.items():
            merged[name] = value
            origin[name] = (
                f"{ENVIRONMENT_PREFIX}{name.upper()}" if source == "environment" else f"{source}: {name}"
            )
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _explain(error, origin) from None


def check_settings(values: Mapping[str, Any]) -> Settings:
    """Settings of these values alone. Raises SettingsError for what cannot be one."""
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _explain(error, {}) from None


def _read_toml(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        if not required:
            return {}
        raise SettingsError(
            f"There is no settings file {path}",
            expected="a TOML file",
            do="correct the path, or leave it out",
        ) from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"The settings file {path} cannot be read: {error}", expected="a TOML file", do="correct the file"
        ) from None


def _explain(error: ValidationError, origin: Mapping[str, str]) -> SettingsError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    where = origin.get(name, name)
    if first["type"] == "extra_forbidden":
        return SettingsError(
            f"Unknown setting {where}",
            expected="one of: " + ", ".join(sorted(Settings.model_fields)),
            do="correct or remove it",
        )
    about = Settings.model_fields[name].description if name in Settings.model_fields else ""
    return SettingsError(
        f"{where} is {first['input']!r}: {first['msg']}",
        expected=about or "a valid value",
        do=f"correct {where}",
    )
