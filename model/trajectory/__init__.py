"""From an object's boxes to how it moved. Formulas, thresholds and their reasons: docs/motion.md."""

from tubelet.model.trajectory.moments import measure_moments, split_moments
from tubelet.model.trajectory.motion import measure_as_moving, measure_motion
from tubelet.model.trajectory.path import SmoothPath, smooth_path

__all__ = [
    "SmoothPath",
    "measure_as_moving",
    "measure_moments",
    "measure_motion",
    "smooth_path",
    "split_moments",
]
