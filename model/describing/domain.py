"""What a captioner was trained on: whether an object belongs there, and what it would be called.

A network trained on rendered scenes is as sure of itself on footage that it has never seen. A recogniser that
knows photographs tells the two apart: its vectors of what the captioner was trained on lie near a few axes,
those of anything else lie off them. Of what belongs there, linear classifiers learnt from the same objects
tell category and main colour better than the captioner's sentences do: they see the recogniser's vector, the
captioner's own vision features and the colours that were measured, all at once. And a path tells more of a
turn to what has seen thousands than to a formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tubelet.errors import ModelError
from tubelet.model.describing.base import Looks, Naming, ObjectView, choose_name
from tubelet.model.describing.beside import reading
from tubelet.model.describing.colour import COLOUR_NAMES
from tubelet.model.describing.facing_reader import FacingReader, read_facing
from tubelet.model.describing.kinds import KINDS_FILE, KindReader, read_kinds
from tubelet.model.describing.turning import WAYS, TurnReader, share_out
from tubelet.model.trajectory.shape import NUM_NUMBERS
from tubelet.records import Attributes

DOMAIN_FILE = "domain.npz"
_NUM_LAYERS = 3

SIGHT_TRUST = 0.6
"""Exponent of what sights tell of a category, beside looks and features: they err on the same pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class Namer:
    """A multinomial logistic regression from F numbers to K names: `weights_FK` and `biases_K`."""

    names: tuple[str, ...]
    weights_FK: NDArray[np.float32]
    biases_K: NDArray[np.float32]

    def weigh(self, seen_F: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logarithm of how likely each name is, up to a constant: (K,)."""
        return np.asarray(seen_F @ self.weights_FK + self.biases_K, np.float32)

    def choose(self, weighed_K: NDArray[np.float32]) -> Naming:
        """The likeliest name, and how likely it is, by such logarithms."""
        return choose_name(self.names, share_out(weighed_K))

    def name(self, seen_F: NDArray[np.float32]) -> Naming:
        """The likeliest name, and how likely it is."""
        return self.choose(self.weigh(seen_F))


@dataclass(frozen=True, slots=True)
class Judgement:
    """How familiar an object looks, 0 to 1, and what it would be called if it is."""

    familiarity: float
    category: Naming
    colour: Naming
    way: Naming | None


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """The principal axes of a recogniser's vectors of training objects, how far others lie off, and names.

    `recogniser` is `name@version`, `mean_D` the mean vector, `axes_KD` orthonormal, `distances_N` those of
    held-out objects, rising. The distance of a vector is what the axes leave of it (Hoffmann, "Kernel PCA for
    novelty detection", 2007, the linear case). Told as a share of held-out objects it is a conformal p-value
    (Bates et al., "Testing for outliers with conformal p-values", 2023).

    `categories` reads the recogniser's vector and then the captioner's features (C numbers), `colours` these
    features and then `list_shares`, `turns` the shape of a path, `facing` that and the views, `kinds` the
    views, where these were learnt.
    """

    recogniser: str
    mean_D: NDArray[np.float32]
    axes_KD: NDArray[np.float32]
    distances_N: NDArray[np.float32]
    categories: Namer
    colours: Namer
    turns: TurnReader
    facing: FacingReader | None = None
    kinds: KindReader | None = None

    @property
    def num_features(self) -> int:
        """C, the width of the captioner's vision features."""
        return len(self.colours.weights_FK) - len(COLOUR_NAMES)

    def judge(
        self,
        looks: Looks | None,
        seen_C: NDArray[np.float32],
        attributes: Attributes,
        shape: NDArray[np.float32] | None,
        views: Sequence[ObjectView] = (),
    ) -> Judgement | None:
        """What is known of an object; None where no recogniser saw it, or another one.

        `seen_C` is the captioner's mean vision feature, `attributes` hold the colours that were measured,
        `shape` is its path, if it has one, `views` are its pictures. An object is familiar by its `rank`,
        times how sure its category is by looks and features: what lies near the axes but is like no one thing
        of the domain is not familiar either.
        """
        rank = self.rank(looks)
        if looks is None or rank is None:
            return None
        weighed_K = self.categories.weigh(np.concatenate([looks.vector, seen_C]).astype(np.float32))
        category = self.categories.choose(weighed_K)
        familiarity = rank * category.score
        sights_K = None if self.kinds is None else self.kinds.weigh(views, self.categories.names)
        if sights_K is not None:
            category = self.categories.choose(weighed_K + SIGHT_TRUST * sights_K)
        colour = self.colours.name(np.concatenate([seen_C, list_shares(attributes)]).astype(np.float32))
        way = None if shape is None else self._read_way(shape, views)
        return Judgement(familiarity, category, colour, way)

    def _read_way(self, shape: NDArray[np.float32], views: Sequence[ObjectView]) -> Naming:
        """By the path and by which way the object faces; by the path alone where that is not seen."""
        path_W = self.turns.share(shape)
        seen = None if self.facing is None else self.facing.read(views, shape, path_W)
        return choose_name(WAYS, path_W) if seen is None else seen

    def rank(self, looks: Looks | None) -> float | None:
        """The share of held-out objects that lie farther off the axes; None as for `judge`."""
        if looks is None or looks.recogniser != self.recogniser:
            return None
        [distance] = self.measure_distances(np.array([looks.vector], np.float32))
        num_farther = len(self.distances_N) - int(np.searchsorted(self.distances_N, distance))
        return (1 + num_farther) / (1 + len(self.distances_N))

    def measure_distances(self, vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far vectors lie off the axes: (N,)."""
        moved_ND = vectors_ND - self.mean_D
        left_ND = moved_ND - (moved_ND @ self.axes_KD.T) @ self.axes_KD
        distances: NDArray[np.float32] = np.linalg.norm(left_ND, axis=1).astype(np.float32)
        return distances

    def write(self, folder: Path) -> None:
        """Write the domain beside a checkpoint, and what reads ways and categories from views."""
        for beside in (self.facing, self.kinds):
            if beside is not None:
                beside.write(folder)
        arrays: dict[str, Any] = {name: part.astype(np.float16) for name, part in self._list_arrays().items()}
        for name, words in (("categories", self.categories.names), ("colours", self.colours.names)):
            arrays[name] = np.array(words, dtype=np.str_)
        np.savez(folder / DOMAIN_FILE, recogniser=np.array(self.recogniser), **arrays)

    def _list_arrays(self) -> dict[str, NDArray[np.float32]]:
        return {
            "mean": self.mean_D,
            "axes": self.axes_KD,
            "distances": self.distances_N,
            "category_weights": self.categories.weights_FK,
            "category_biases": self.categories.biases_K,
            "colour_weights": self.colours.weights_FK,
            "colour_biases": self.colours.biases_K,
            **{f"turn_weights_{place}": part for place, part in enumerate(self.turns.weights)},
            **{f"turn_biases_{place}": part for place, part in enumerate(self.turns.biases)},
        }


def list_shares(attributes: Attributes) -> list[float]:
    """The share that was measured of each of COLOUR_NAMES; of those that no attribute names, 0."""
    shares = dict(zip(attributes.colours, attributes.colour_shares, strict=True))
    return [shares.get(name, 0.0) for name in COLOUR_NAMES]


def read_domain(folder: Path) -> Domain | None:
    """The domain of a checkpoint, None where it has none. Raises ModelError for any other file."""
    file = folder / DOMAIN_FILE
    if not file.is_file():
        return None
    with (
        reading(file, "what a captioner knows"),
        file.open("rb") as stream,
        np.load(stream, allow_pickle=False) as arrays,
    ):
        domain = _read_arrays(arrays)
    shapes = {name: part.shape for name, part in domain._list_arrays().items() if name != "distances"}
    num_dimensions, num_features = domain.mean_D.size, domain.num_features
    num_categories, num_colours = len(domain.categories.names), len(domain.colours.names)
    widths = (NUM_NUMBERS, *(len(part) for part in domain.turns.weights[1:]), len(WAYS))
    expected = {
        "mean": (num_dimensions,),
        "axes": (len(domain.axes_KD), num_dimensions),
        "category_weights": (num_dimensions + num_features, num_categories),
        "category_biases": (num_categories,),
        "colour_weights": (num_features + len(COLOUR_NAMES), num_colours),
        "colour_biases": (num_colours,),
        **{f"turn_weights_{place}": pair for place, pair in enumerate(pairwise(widths))},
        **{f"turn_biases_{place}": (width,) for place, width in enumerate(widths[1:])},
    }
    if shapes != expected or num_features < 1:
        raise ModelError(
            f"{file} holds arrays that do not fit together: {shapes}",
            expected=f"{expected}",
            do="copy the checkpoint again, or remove that file to do without",
        )
    kinds = read_kinds(folder)
    if kinds is not None and not {*domain.categories.names} <= {*kinds.names}:
        raise ModelError(
            f"{folder / KINDS_FILE} tells {', '.join(kinds.names)}",
            expected=f"every category of {DOMAIN_FILE}: {', '.join(domain.categories.names)}",
            do="copy the checkpoint again, or remove that file to do without",
        )
    return replace(domain, facing=read_facing(folder), kinds=kinds)


def _read_arrays(arrays: Mapping[str, ArrayLike]) -> Domain:
    def read(name: str) -> NDArray[np.float32]:
        return np.asarray(arrays[name]).astype(np.float32)

    def read_names(name: str) -> tuple[str, ...]:
        return tuple(str(word) for word in np.atleast_1d(np.asarray(arrays[name])))

    return Domain(
        str(arrays["recogniser"]),
        read("mean"),
        read("axes"),
        read("distances"),
        Namer(read_names("categories"), read("category_weights"), read("category_biases")),
        Namer(read_names("colours"), read("colour_weights"), read("colour_biases")),
        TurnReader(
            tuple(read(f"turn_weights_{place}") for place in range(_NUM_LAYERS)),
            tuple(read(f"turn_biases_{place}") for place in range(_NUM_LAYERS)),
        ),
    )
