"""What a captioner was trained on, as a recogniser sees it: whether an object belongs there, and its name.

A network trained on rendered scenes is as sure of itself on footage that it has never seen. A recogniser that
knows photographs tells the two apart: its vectors of what the captioner was trained on lie near a few axes,
those of anything else lie off them. Along these axes things of one name lie together, so that a linear
classifier, learnt from the same objects, tells what one is.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import InputError, ModelError
from tubelet.model.describing.base import Looks, Naming

DOMAIN_FILE = "domain.npz"
NUM_AXES = 100
RIDGE = 0.01
"""Of the names' weights, along axes of equal spread."""


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """The principal axes of a recogniser's vectors of training objects, and how far others lie off them.

    `recogniser` is `name@version`, `mean_D` the mean vector, `axes_KD` orthonormal, `distances_N` those of
    held-out objects, rising. The distance of a vector is what the axes leave of it (Hoffmann, "Kernel PCA for
    novelty detection", 2007, the linear case). Told as a share of held-out objects it is a conformal p-value
    (Bates et al., "Testing for outliers with conformal p-values", 2023).

    `weights_KC` and `biases_C` are those of a multinomial logistic regression from coordinates along the axes
    to `categories`.
    """

    recogniser: str
    mean_D: NDArray[np.float32]
    axes_KD: NDArray[np.float32]
    distances_N: NDArray[np.float32]
    categories: tuple[str, ...]
    weights_KC: NDArray[np.float32]
    biases_C: NDArray[np.float32]

    def measure(self, looks: Looks | None) -> float | None:
        """How familiar an object looks, 0 to 1: its `rank`, times how sure it is what it would be called.

        What lies near the axes but is like no one thing of the domain is not familiar either. None where
        nothing is known of its looks, or another recogniser saw it.
        """
        rank, naming = self.rank(looks), self.name(looks)
        return None if rank is None or naming is None else rank * naming.score

    def rank(self, looks: Looks | None) -> float | None:
        """The share of held-out objects that lie farther off the axes; None as for `measure`."""
        if looks is None or looks.recogniser != self.recogniser:
            return None
        [distance] = self._measure_distances(np.array([looks.vector], np.float32))
        num_farther = len(self.distances_N) - int(np.searchsorted(self.distances_N, distance))
        return (1 + num_farther) / (1 + len(self.distances_N))

    def name(self, looks: Looks | None) -> Naming | None:
        """What an object would be called among those of the domain; None as for `measure`."""
        if looks is None or looks.recogniser != self.recogniser:
            return None
        [place_K] = self.project(np.array([looks.vector], np.float32))
        logits_C = place_K @ self.weights_KC + self.biases_C
        shares_C = np.exp(logits_C - logits_C.max())
        place = int(shares_C.argmax())
        return Naming(self.categories[place], float(shares_C[place] / shares_C.sum()))

    def project(self, vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coordinates along the axes: (N, K)."""
        return np.asarray((vectors_ND - self.mean_D) @ self.axes_KD.T, np.float32)

    def write(self, folder: Path) -> None:
        """Write the domain beside a checkpoint."""
        np.savez(
            folder / DOMAIN_FILE,
            recogniser=np.array(self.recogniser),
            mean=self.mean_D.astype(np.float16),
            axes=self.axes_KD.astype(np.float16),
            distances=self.distances_N.astype(np.float16),
            categories=np.array(self.categories, dtype=np.str_),
            weights=self.weights_KC.astype(np.float16),
            biases=self.biases_C.astype(np.float16),
        )

    def _measure_distances(self, vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        moved_ND = vectors_ND - self.mean_D
        left_ND = moved_ND - self.project(vectors_ND) @ self.axes_KD
        distances: NDArray[np.float32] = np.linalg.norm(left_ND, axis=1).astype(np.float32)
        return distances


def fit_domain(
    recogniser: str,
    seen_ND: NDArray[np.float32],
    categories_N: Sequence[str],
    held_out_ND: NDArray[np.float32],
    *,
    num_axes: int = NUM_AXES,
) -> Domain:
    """The domain of the objects that a captioner was trained on; held-out ones say what is usual.

    `categories_N` are what the objects of `seen_ND` are called.
    """
    if len(seen_ND) <= num_axes or not len(held_out_ND):
        raise InputError(
            f"There are {len(seen_ND)} objects to fit a domain to and {len(held_out_ND)} to compare with",
            expected=f"more than {num_axes}, and at least one",
            do="render more clips",
        )
    # As they are read back, in 16 bits: distances must be those that will be measured.
    mean_D = _round(seen_ND.mean(axis=0))
    axes_KD = _round(np.linalg.svd(seen_ND - mean_D, full_matrices=False)[2][:num_axes])
    names = tuple(sorted(set(categories_N)))
    none = np.zeros(0, np.float32)
    axes = Domain(recogniser, mean_D, axes_KD, none, names, none, none)
    weights_KC, biases_C = _fit_names(
        axes.project(seen_ND), np.array([names.index(name) for name in categories_N])
    )
    distances_N = np.sort(axes._measure_distances(held_out_ND))
    return replace(axes, distances_N=distances_N, weights_KC=weights_KC, biases_C=biases_C)


def _round(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)


def _fit_names(
    seen_NK: NDArray[np.float32], names_N: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (K, C) and biases (C) of multinomial logistic regression, ridged along axes of equal spread."""
    from scipy.optimize import minimize  # only training fits

    spread_K = np.maximum(seen_NK.std(axis=0, dtype=np.float64), 1e-6)
    even_NK = seen_NK / spread_K
    true_NC = np.eye(int(names_N.max()) + 1)[names_N]
    num, num_axes = even_NK.shape

    def measure(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The loss and its slopes, at weights followed by biases."""
        parts = flat.reshape(num_axes + 1, -1)
        logits_NC = even_NK @ parts[:-1] + parts[-1]
        logits_NC -= logits_NC.max(axis=1, keepdims=True)
        logits_NC -= np.log(np.exp(logits_NC).sum(axis=1, keepdims=True))
        excess_NC = (np.exp(logits_NC) - true_NC) / num
        slopes = np.concatenate([even_NK.T @ excess_NC + RIDGE * parts[:-1], excess_NC.sum(axis=0)[None]])
        loss = -(logits_NC * true_NC).sum() / num + RIDGE / 2 * np.square(parts[:-1]).sum()
        return float(loss), slopes.ravel()

    start = np.zeros((num_axes + 1) * true_NC.shape[1])
    parts = minimize(measure, start, jac=True, method="L-BFGS-B").x.reshape(num_axes + 1, -1)
    return (parts[:-1] / spread_K[:, None]).astype(np.float32), parts[-1].astype(np.float32)


def read_domain(folder: Path) -> Domain | None:
    """The domain of a checkpoint, None where it has none. Raises ModelError for any other file."""
    file = folder / DOMAIN_FILE
    if not file.is_file():
        return None
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            mean_D, axes_KD, distances_N, weights_KC, biases_C = (
                arrays[name].astype(np.float32) for name in ("mean", "axes", "distances", "weights", "biases")
            )
            names = tuple(str(name) for name in arrays["categories"])
            domain = Domain(
                str(arrays["recogniser"]), mean_D, axes_KD, distances_N, names, weights_KC, biases_C
            )
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{file} cannot be read: {error}",
            expected="a domain that training wrote",
            do="copy the checkpoint again, or remove that file to do without",
        ) from error
    shapes = [part.shape for part in (domain.axes_KD, domain.weights_KC, domain.biases_C)]
    num_axes, num_names = len(domain.axes_KD), len(domain.categories)
    if shapes != [(num_axes, domain.mean_D.size), (num_axes, num_names), (num_names,)]:
        raise ModelError(
            f"{file} holds axes, weights and biases of shapes {shapes}, a mean of {domain.mean_D.shape} and "
            f"{num_names} categories",
            expected="axes (K, D), weights (K, C), biases (C), a mean (D) and C categories",
            do="copy the checkpoint again, or remove that file to do without",
        )
    return domain
