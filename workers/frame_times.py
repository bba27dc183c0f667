"""The true times of all frames of a file, which tell frame numbers where the frame rate varies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubelet.workers.container import sniff_container
from tubelet.workers.decoder_client import DecoderProcess


def read_frame_times(path: Path, *, timeout_s: float) -> NDArray[np.float64]:
    """Seconds at which each frame is shown, in rising order from 0; packets are listed, nothing is decoded.

    Raises SourceError where the file cannot be opened.
    """
    path = path.resolve(strict=True)
    with DecoderProcess(path, sniff_container(path), timeout_s=timeout_s) as decoder:
        decoder.send({"do": "list times"})
        times_s: NDArray[np.float64] = np.array(decoder.receive()["times_s"], dtype=np.float64)
    return times_s
