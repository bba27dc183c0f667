"""Basic colour names from an object's pixels. How and why, with all thresholds: docs/colours.md.

Names are Berlin and Kay's eleven, and teal and beige, which traffic descriptions need. Words such as silver,
maroon or navy are synonyms that a search maps onto these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.cells import Array, Cells, measure_cells
from tubelet.model.frame import Image
from tubelet.model.masks import Mask

COLOUR_NAMES = (
    "black",
    "grey",
    "white",
    "red",
    "orange",
    "brown",
    "beige",
    "yellow",
    "green",
    "teal",
    "blue",
    "purple",
    "pink",
)
"""Every name that can be measured."""

MIN_SECOND_SHARE = {"grey": 0.35, "black": 0.3, "white": 0.3, "brown": 0.3, "beige": 0.3}
MIN_SECOND_VIVID_SHARE = 0.12
"""Share of the object from which a second colour is named. Glass, shade, shine, skin and hair are grey,
black, white, brown and beige on things of any colour, so those need more than the vivid names do."""

_BLACK, _GREY, _WHITE, _RED, _ORANGE, _BROWN, _BEIGE, _YELLOW, _GREEN, _TEAL, _BLUE, _PURPLE, _PINK = range(
    13
)

Shares = NDArray[np.float64]


def name_colours(image: Image, mask: Mask) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """One or two colour names of a masked object, the larger share first, and their shares (0..1).

    `image` is (h, w, 3) RGB, `mask` (h, w). Some picture around the object helps: it tells the light's tint
    and what is only a shadow. Raises ValueError for an empty mask.
    """
    return pick_names(measure_shares(measure_cells(image, mask)))


def aggregate_colours(views: Sequence[tuple[Image, Mask]]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The names of one object seen in several pictures: shares are the median over the pictures.

    Where no name is in half of the pictures, as on something that changes colour, they are the mean.
    """
    if not views:
        raise ValueError("no views; expected at least one")
    measured = [measure_shares(measure_cells(image, mask)) for image, mask in views]
    shares = np.median(measured, axis=0)
    return pick_names(_normalise(shares if shares.any() else np.mean(measured, axis=0)))


def pick_names(shares: Shares) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The largest share's name, and the next one's that is large enough to be a colour of its own."""
    first, *others = (int(index) for index in np.argsort(-shares, kind="stable"))
    chosen = [first, *(index for index in others if shares[index] >= _min_second_share(index))][:2]
    return tuple(COLOUR_NAMES[index] for index in chosen), tuple(float(shares[index]) for index in chosen)


def _min_second_share(index: int) -> float:
    return MIN_SECOND_SHARE.get(COLOUR_NAMES[index], MIN_SECOND_VIVID_SHARE)


def measure_shares(cells: Cells) -> Shares:
    """Share of each of COLOUR_NAMES over an object, summing to 1: (13,)."""
    lab = _remove_tint(cells.lab, cells.around)
    paint = _count_names(lab, ~_find_shadow(lab, _remove_tint(cells.around, cells.around)))
    if paint.sum() >= _MIN_KEPT * len(lab) and paint[_PAINTS].sum() >= 0.5 * paint.sum():
        return _normalise(paint)
    return _normalise(_count_names(lab, np.ones(len(lab), dtype=bool)))


def _normalise(counts: Shares) -> Shares:
    shares: Shares = counts / counts.sum()
    return shares


def _count_names(lab: Array, kept: NDArray[np.bool_]) -> Shares:
    """How many of the kept cells bear each name, shading given back to its paint: (13,)."""
    lab = lab[kept]
    names = _tell_pale_paint(lab, name_cells(lab))
    return _fold_shading(np.bincount(names, minlength=len(COLOUR_NAMES)).astype(np.float64), lab, names)


_MIN_KEPT = 0.25
_PAINTS = [_WHITE, _RED, _ORANGE, _YELLOW, _GREEN, _TEAL, _BLUE, _PURPLE, _PINK]
"""Shadow is left out when at least _MIN_KEPT is left, half of it in names that no shadow can look like."""


def name_cells(lab: Array) -> NDArray[np.intp]:
    """Index into COLOUR_NAMES of each colour on its own: (n, 3) OKLab to (n,)."""
    lightness, saturation, hue = split_lab(lab)
    chroma = saturation * lightness
    names = np.select(
        [lightness < _MAX_BLACK_NEUTRAL, lightness >= _MIN_WHITE], [_BLACK, _WHITE], default=_GREY
    )
    coloured = (saturation >= _min_saturation(hue)) & (lightness >= _MIN_COLOUR_LIGHTNESS)
    coloured |= (lightness >= _MIN_DEEP_LIGHTNESS) & (chroma >= _MIN_DEEP_CHROMA)
    return np.where(coloured, _name_chromatic(lightness, chroma, hue), names)


def _name_chromatic(lightness: Array, chroma: Array, hue: Array) -> NDArray[np.intp]:
    """The name of colours that are not grey: the first rule that holds. Hues run from -40 (pink) to 320."""
    turned = (hue + 40) % 360 - 40
    rules: tuple[tuple[NDArray[np.bool_], int], ...] = (
        ((turned < -20) & (lightness < 0.62), _PURPLE),
        ((turned < 0) & (lightness >= 0.62), _PINK),
        ((turned < 38) & ((lightness >= 0.76) | ((chroma < 0.075) & (lightness >= 0.55))), _PINK),
        ((turned >= 15) & (turned < 38) & (lightness < 0.5) & (chroma < 0.06), _BROWN),
        (turned < 38, _RED),
        ((turned < 115) & (chroma < 0.085) & (lightness >= 0.68), _BEIGE),
        ((turned < 45) & (lightness < 0.66) & (chroma >= 0.13), _RED),
        ((turned < 100) & (lightness < 0.66), _BROWN),
        ((turned < 100) & (lightness < 0.72) & (chroma < 0.10), _BROWN),
        (turned < 80, _ORANGE),
        ((turned < 100) | ((turned < 115) & (lightness >= 0.65)), _YELLOW),
        (turned < 165, _GREEN),
        (turned < 215, _TEAL),
        (turned < 285, _BLUE),
    )
    holds, names = zip(*rules, strict=True)
    return np.select(holds, names, default=_PURPLE)


_MAX_BLACK_NEUTRAL = 0.36
_MIN_WHITE = 0.84
_MIN_COLOUR_LIGHTNESS = 0.20
_MIN_DEEP_LIGHTNESS = 0.10
_MIN_DEEP_CHROMA = 0.055


def split_lab(lab: Array) -> tuple[Array, Array, Array]:
    """Lightness, saturation (chroma over lightness) and hue in degrees 0..360 of OKLab (n, 3)."""
    lightness = lab[:, 0]
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    return lightness, chroma / np.maximum(lightness, 0.05), np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360


def _min_saturation(hue: Array) -> Array:
    """The saturation that makes a colour of a grey, higher along the daylight axis (amber to sky blue)."""
    amber = np.abs((hue - 75 + 180) % 360 - 180) < 35
    sky = np.abs((hue - 265 + 180) % 360 - 180) < 35
    return np.where(amber | sky, 0.085, 0.06)


def _remove_tint(lab: Array, around: Array) -> Array:
    """Subtract the light's tint: the median colour cast of what is nearly grey around the object."""
    if len(around) == 0:
        return lab
    lightness, saturation, _ = split_lab(around)
    grey = (saturation < 0.06) & (lightness > 0.3) & (lightness < 0.97)
    if grey.sum() < max(12, 0.2 * len(around)):
        return lab
    tint = np.median(around[grey, 1:] / around[grey, :1], axis=0)
    result = lab.copy()
    result[:, 1:] -= tint * lab[:, :1]
    more = np.hypot(result[:, 1], result[:, 2]) > np.hypot(lab[:, 1], lab[:, 2])
    result[more] = lab[more]  # a tint explains colour away, it never adds any
    return result


def _find_shadow(lab: Array, around: Array) -> NDArray[np.bool_]:
    """Cells that may be the surroundings in shadow: of the same colour, at 0.12 to 1.1 of their light."""
    if len(around) < 12:
        return np.zeros(len(lab), dtype=bool)
    base = np.median(around, axis=0)
    factor = (lab[:, 0] / max(float(base[0]), 0.05)) ** 3
    same_colour = np.hypot(*(lab[:, 1:] / np.maximum(lab[:, :1], 0.05) - base[1:] / max(base[0], 0.05)).T)
    found: NDArray[np.bool_] = (factor > 0.12) & (factor < 1.1) & (same_colour < 0.04)
    return found


def _tell_pale_paint(lab: Array, names: NDArray[np.intp]) -> NDArray[np.intp]:
    """Name grey and white cells by the one weak hue that they share, as in silver-green or ice-blue paint."""
    lightness = lab[:, 0]
    pale = ((names == _GREY) | (names == _WHITE)) & (lightness > 0.5)
    measured = pale & (lightness < 0.97)  # what is clipped has lost its hue
    if pale.sum() < 0.5 * len(lab) or measured.sum() < max(12, 0.4 * pale.sum()):
        return names
    _, saturation, hue = split_lab(np.median(lab[measured] / lab[measured, :1], axis=0, keepdims=True))
    if saturation[0] < _MIN_PALE_SATURATION or not 130 <= hue[0] < 235:
        return names
    result = names.copy()
    if hue[0] < 165:
        result[pale] = _GREEN
    else:
        result[pale] = _BLUE if hue[0] >= 215 and saturation[0] >= _MIN_PALE_BLUE else _TEAL
    return result


_MIN_PALE_SATURATION, _MIN_PALE_BLUE = 0.016, 0.045


def _fold_shading(counts: Shares, lab: Array, names: NDArray[np.intp]) -> Shares:
    """Give shaded and shiny parts back to the paint that they belong to.

    Beside red, pink is its shine. Beside white, light grey is white in shade, and darker grey is half glass
    and half cells that straddle white and black.
    """
    folded = counts.copy()
    if folded[_RED] > 0.3 * folded[_PINK]:
        folded[_RED] += folded[_PINK]
        folded[_PINK] = 0
    if folded[_WHITE] >= 0.25 * folded.sum():
        shaded = float(((names == _GREY) & (lab[:, 0] >= 0.6)).sum())
        moved = shaded + (folded[_GREY] - shaded) / 2
        folded[_WHITE] += moved
        folded[_GREY] -= moved
    return folded
