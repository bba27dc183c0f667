"""How the tracker `sam2` works with its network, and the file in which a checkpoint says what suits it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from tubelet.errors import SettingsError
from tubelet.model.tracking.sam2.discovery import DiscoverySettings
from tubelet.model.tracking.sam2.engine import MAX_PROMPTED_FRAMES
from tubelet.model.tracking.sam2.flow_session import FollowBy
from tubelet.model.tracking.sam2.refining import RefiningSettings
from tubelet.model.tracking.sam2.tracing_back import TracingSettings

SETTINGS_FILE = "tracker.json"
"""Beside a checkpoint's config.json. Only what differs from the usual settings needs to be in it."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How objects come and go.

    Every `key_every_s`, on one grid for the video, the whole frame is searched for new objects. A candidate
    is new when live masks cover less than `max_covered` of it. An object is dropped when it was out of sight,
    or scored below `min_score`, for `max_absent_s`, and when its mask has come to lie on an older object's by
    more than `max_duplicate_iou`. At most `max_num_objects` are followed at a time.

    With `reprompt_from_motion`, what `motion` is sure of sets right what is followed already: in key frames,
    and when a thing has begun to move, an object whose mask has an IoU of at most `max_drifted_iou` with the
    one motion mask on it is prompted anew; 1 prompts always. It is meant for networks that drift more than
    `motion` does before fixed cameras. Of the frames on which an object was prompted the latest
    `max_prompted_frames` stay in its memory; each makes following it dearer.

    `follow_by` is as in `open_session`. With `motion_masks`, all that `motion` sees is followed, at rest too,
    under the masks that `motion` gives it, and before a camera that stands still an object is out of sight
    when motion, which saw it before, does not see it; by flow that costs next to nothing.

    Every `refine_every` frames carried masks are set right as `refining` says, which needs a judge of masks
    (`judge.npz`); 0 is never. What is new is traced back as `tracing` says.
    """

    key_every_s: float = 2.0
    max_num_objects: int = 32
    max_covered: float = 0.5
    max_absent_s: float = 4.0
    min_score: float = 0.3
    min_area_share: float = 0.0003
    max_duplicate_iou: float = 0.85
    max_batch: int = 32
    max_prompted_frames: int = MAX_PROMPTED_FRAMES
    reprompt_from_motion: bool = False
    max_drifted_iou: float = 0.7
    motion_masks: bool = False
    refine_every: int = 0
    refining: RefiningSettings = field(default_factory=RefiningSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    follow_by: FollowBy = "memory"
    discovery: DiscoverySettings | None = field(default_factory=DiscoverySettings)
    """None leaves the search to motion and detector."""

    def __post_init__(self) -> None:
        if self.follow_by not in get_args(FollowBy):
            known = " or ".join(get_args(FollowBy))
            raise SettingsError(f"follow_by is {self.follow_by!r}", expected=known)
        for name, low in (
            ("key_every_s", 0.0),
            ("max_num_objects", 1),
            ("max_absent_s", 0.0),
            ("min_score", 0.0),
            ("min_area_share", 0.0),
            ("max_batch", 1),
            ("max_prompted_frames", 1),
            ("max_drifted_iou", 0.0),
            ("refine_every", 0),
        ):
            if not getattr(self, name) >= low:
                raise SettingsError(f"{name} is {getattr(self, name)}", expected=f"{low} or more")
        if self.refine_every and self.follow_by != "flow":
            raise SettingsError(
                f"refine_every is {self.refine_every} and follow_by {self.follow_by!r}",
                expected="refine_every 0: only masks that the flow carries are refined",
            )
        if self.tracing.back_s and self.follow_by == "flow" and not self.refine_every:
            raise SettingsError(
                f"Objects are to be traced back by {self.tracing.back_s:g} s, and masks are never refined",
                expected="refine_every above 0: flow alone does not tell when an object came",
            )


_Settings = TypeVar("_Settings")

_PARTS: Mapping[str, type] = {
    "discovery": DiscoverySettings,
    "refining": RefiningSettings,
    "tracing": TracingSettings,
}


def read_settings(folder: Path) -> TrackerSettings:
    """The settings that a checkpoint's folder carries; the usual ones where it has no `tracker.json`.

    The file is a JSON object of fields of `TrackerSettings`; `discovery` is an object of `DiscoverySettings`,
    or null, and `refining` one of `RefiningSettings`. Raises SettingsError for an unknown name, a bad value.
    """
    file = folder / SETTINGS_FILE
    if not file.exists():
        return TrackerSettings()
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{file} cannot be read: {error}", expected="a JSON object", do="correct or delete it"
        ) from error
    for name, part in _PARTS.items():
        if isinstance(given, dict) and isinstance(given.get(name), dict):
            given = given | {name: _make(part, given[name], file)}
    return _make(TrackerSettings, given, file)


def write_settings(folder: Path, settings: TrackerSettings) -> None:
    """Write the settings into a checkpoint's folder, as `read_settings` reads them."""
    text = json.dumps(asdict(settings), indent=2) + "\n"
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")


def _make(kind: type[_Settings], given: Any, file: Path) -> _Settings:
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(given, Mapping) or not given.keys() <= known:
        unknown = sorted(given.keys() - known) if isinstance(given, Mapping) else given
        raise SettingsError(
            f"{file} holds {unknown!r}", expected=f"some of: {', '.join(sorted(known))}", do="correct it"
        )
    for name, value in given.items():
        usual = getattr(kind(), name)
        fits = isinstance(value, bool) == isinstance(usual, bool) and isinstance(value, int | float)
        if isinstance(usual, str):
            fits = isinstance(value, str)
        if name in _PARTS:
            fits = isinstance(value, _PARTS[name]) or (value is None and name == "discovery")
        if not fits or (type(usual) is int and not isinstance(value, int)):
            raise SettingsError(
                f"{file} holds {name} = {value!r}", expected=f"a value like {usual!r}", do="correct it"
            )
    return kind(**given)
