"""Options that are frozen into a batch, and where a machine keeps things, which is its own affair.

A batch's rows must not depend on the machine that makes them, so what changes rows, and how patiently they
are made, travels with the batch. Folders, addresses, devices and numbers of processes never do.
"""

from __future__ import annotations

import json

from tubelet.errors import StoreError
from tubelet.settings import Settings

FROZEN = (
    *("tracker", "captioner", "embedder", "recogniser", "tracker_weights", "captioner_weights"),
    *("sample_fps", "frame_size_px", "chunk_s", "margin_s", "rejoin_s", "max_moment_s"),
    *("max_attempts", "decode_timeout_s", "decoder", "keep_chunks"),
)


def freeze_options(settings: Settings) -> str:
    """The options of a batch as JSON. Names that the profile chose are written out, so that it may change."""
    chosen = settings.model_copy(
        update={
            "tracker": settings.tracker_name,
            "captioner": settings.captioner_name,
            "embedder": settings.embedder_name,
            "recogniser": settings.recogniser_name,
            "tracker_weights": settings.tracker_checkpoint,
            "captioner_weights": settings.captioner_checkpoint,
        }
    )
    return json.dumps(chosen.model_dump(mode="json", include=set(FROZEN)), sort_keys=True)


def thaw_options(options: str, place: Settings) -> Settings:
    """Settings for work of a batch on this machine: the batch's options in the place that `place` describes.

    Raises StoreError for options that this version does not know.
    """
    values = json.loads(options)
    unknown = sorted(set(values) - set(FROZEN))
    if unknown:
        raise StoreError(
            f"The batch has options that this Tubelet does not know: {', '.join(unknown)}",
            expected="a batch of this version or an older one",
            do="run the same version on every machine",
        )
    return Settings(**{**place.model_dump(), **values})
