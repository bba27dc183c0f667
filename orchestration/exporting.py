"""Opens an export: the index with masks from beside it and frame times from the sources."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import SourceError
from tubelet.index.exporting.object_filter import ObjectFilter
from tubelet.index.exporting.timelines import Timelines
from tubelet.index.store import IndexStore
from tubelet.model.masks import resize_mask
from tubelet.orchestration.masks_store import read_masks
from tubelet.orchestration.resources import make_s3_options
from tubelet.records import Video
from tubelet.settings import Settings
from tubelet.workers.frame_times import read_frame_times
from tubelet.workers.reopen import reopen_source
from tubelet.workers.source import localise

log = logging.getLogger(__name__)


def open_timelines(
    store: IndexStore,
    settings: Settings,
    within: ObjectFilter | None = None,
    *,
    every_frame: bool | None = None,
) -> Timelines:
    """The objects that `within` lets through, ready for any format.

    Where a video's frame rate varies, the true times of its frames are read from its source when a format
    numbers frames; where the source is gone or has changed, a warning says that the numbers are nominal.
    """

    def read_times(video: Video) -> NDArray[np.float64] | None:
        try:
            source = reopen_source(video, s3=make_s3_options(settings))
            with (
                tempfile.TemporaryDirectory(prefix="tubelet-") as folder,
                localise(source, Path(folder), s3=make_s3_options(settings)) as path,
            ):
                return read_frame_times(path, timeout_s=settings.decode_timeout_s)
        except SourceError as error:
            log.warning(
                "Frame numbers of %s are those of a copy at %.6g frames a second, its own rate varies: %s",
                video.uri,
                video.nominal_frame_rate,
                error,
            )
            return None

    return Timelines(
        store,
        within,
        every_frame=every_frame,
        read_masks=lambda video_id, object_ids: read_masks(settings, video_id, object_ids),
        resize_mask=resize_mask,
        read_frame_times=read_times,
    )
