"""Loss and evaluation curves of a training run as one picture, drawn with OpenCV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.log import Row, read_log

Picture = NDArray[np.uint8]
Points = list[tuple[float, float]]

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 30
_INK, _GRID = (40, 40, 40), (225, 225, 225)
_PALE, _LINE, _EVALUATED = (230, 205, 180), (180, 95, 20), (40, 120, 30)  # BGR


def draw_curves(log: Path, picture: Path) -> None:
    """Draw every logged loss, smoothed over a line of what was measured, and every evaluated value."""
    rows = read_log(log)
    panels = [
        _draw_panel(name, points, colour)
        for name, points, colour in (
            *((name, points, _LINE) for name, points in collect(rows, "losses").items()),
            *((name, points, _EVALUATED) for name, points in collect(rows, "evaluation").items()),
        )
        if points
    ]
    if not panels:
        return
    columns = min(3, len(panels))
    panels += [np.full_like(panels[0], 255)] * (-len(panels) % columns)
    sheet = np.vstack([np.hstack(panels[at : at + columns]) for at in range(0, len(panels), columns)])
    is_encoded, encoded = cv2.imencode(".png", sheet)
    assert is_encoded, "a picture of bytes can be encoded"
    new = picture.with_name(picture.name + ".new")
    new.write_bytes(encoded.tobytes())
    new.replace(picture)


def collect(rows: Sequence[Row], kind: str) -> dict[str, Points]:
    """Values by name under `kind` ("losses" or "evaluation"), as (step, value)."""
    curves: dict[str, Points] = {}
    for row in rows:
        for name, value in row.get(kind, {}).items():
            if isinstance(value, int | float) and math.isfinite(value):
                curves.setdefault(name, []).append((row["step"], value))
    return curves


def _draw_panel(name: str, points: Points, colour: tuple[int, int, int]) -> Picture:
    panel: Picture = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    steps = np.array([step for step, _ in points], float)
    values = np.array([value for _, value in points], float)
    low, high = min(0.0, float(values.min())), float(np.quantile(values, 0.98))
    high = max(high, float(values[-1]), low + 1e-9)
    last = max(float(steps.max()), 1.0)

    def place(step: float, value: float) -> tuple[int, int]:
        x = _LEFT + step / last * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - (min(value, high) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return round(x), round(y)

    for part in range(5):
        value = low + (high - low) * part / 4
        cv2.line(panel, place(0, value), place(last, value), _GRID, 1)
        _write(panel, f"{value:.3g}", (6, place(0, value)[1] + 4))
        _write(panel, _short(last * part / 4), (place(last * part / 4, low)[0] - 12, _HEIGHT - 10))
    _write(panel, f"{name}: {values[-1]:.4g}", (_LEFT, 22), size=0.5)
    if colour == _LINE:
        _draw_line(panel, [place(*point) for point in points], _PALE)
        smoothed = _smooth(values)
        _draw_line(
            panel, [place(step, value) for step, value in zip(steps, smoothed, strict=True)], colour, 2
        )
    else:
        corners = [place(*point) for point in points]
        _draw_line(panel, corners, colour, 2)
        for corner in corners:
            cv2.circle(panel, corner, 3, colour, -1, cv2.LINE_AA)
    return panel


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A running mean over a fortieth of the curve, shorter at its ends."""
    reach = max(1, len(values) // 80)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    starts = np.clip(np.arange(len(values)) - reach, 0, None)
    ends = np.clip(np.arange(len(values)) + reach + 1, None, len(values))
    smoothed: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return smoothed


def _draw_line(
    panel: Picture, corners: list[tuple[int, int]], colour: tuple[int, int, int], width: int = 1
) -> None:
    cv2.polylines(panel, [np.array(corners, np.int32)], False, colour, width, cv2.LINE_AA)


def _write(panel: Picture, text: str, place: tuple[int, int], *, size: float = 0.38) -> None:
    cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)


def _short(number: float) -> str:
    return f"{number / 1000:.3g}k" if number >= 1000 else f"{number:.3g}"
