"""What a captioner was trained on, as a recogniser sees it, and whether an object belongs there.

A network trained on rendered scenes is as sure of itself on footage that it has never seen. A recogniser that
knows photographs tells the two apart: its vectors of what the captioner was trained on lie near a few axes,
those of anything else lie off them.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import InputError, ModelError
from tubelet.model.describing.base import Looks

DOMAIN_FILE = "domain.npz"
NUM_AXES = 100


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """The principal axes of a recogniser's vectors of training objects, and how far others lie off them.

    `recogniser` is `name@version`, `mean_D` the mean vector, `axes_KD` orthonormal, `distances_N` those of
    held-out objects, rising. The distance of a vector is what the axes leave of it (Hoffmann, "Kernel PCA for
    novelty detection", 2007, the linear case). Told as a share of held-out objects it is a conformal p-value
    (Bates et al., "Testing for outliers with conformal p-values", 2023).
    """

    recogniser: str
    mean_D: NDArray[np.float32]
    axes_KD: NDArray[np.float32]
    distances_N: NDArray[np.float32]

    def measure(self, looks: Looks | None) -> float | None:
        """How much an object looks like what was trained on: the share of held-out objects that look less so.

        Between 0 and 1; None where nothing is known of its looks, or another recogniser saw it.
        """
        if looks is None or looks.recogniser != self.recogniser:
            return None
        [distance] = self._measure_distances(np.array([looks.vector], np.float32))
        num_farther = len(self.distances_N) - int(np.searchsorted(self.distances_N, distance))
        return (1 + num_farther) / (1 + len(self.distances_N))

    def write(self, folder: Path) -> None:
        """Write the domain beside a checkpoint."""
        np.savez(
            folder / DOMAIN_FILE,
            recogniser=np.array(self.recogniser),
            mean=self.mean_D.astype(np.float16),
            axes=self.axes_KD.astype(np.float16),
            distances=self.distances_N.astype(np.float16),
        )

    def _measure_distances(self, vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        moved_ND = vectors_ND - self.mean_D
        left_ND = moved_ND - (moved_ND @ self.axes_KD.T) @ self.axes_KD
        distances: NDArray[np.float32] = np.linalg.norm(left_ND, axis=1).astype(np.float32)
        return distances


def fit_domain(
    recogniser: str,
    seen_ND: NDArray[np.float32],
    held_out_ND: NDArray[np.float32],
    *,
    num_axes: int = NUM_AXES,
) -> Domain:
    """The domain of the objects that a captioner was trained on; held-out ones say what is usual."""
    if len(seen_ND) <= num_axes or not len(held_out_ND):
        raise InputError(
            f"There are {len(seen_ND)} objects to fit a domain to and {len(held_out_ND)} to compare with",
            expected=f"more than {num_axes}, and at least one",
            do="render more clips",
        )
    mean_D = seen_ND.mean(axis=0)
    axes_KD = np.linalg.svd(seen_ND - mean_D, full_matrices=False)[2][:num_axes]
    # As they are read back, in 16 bits: distances must be those that will be measured.
    mean_D, axes_KD = (part.astype(np.float16).astype(np.float32) for part in (mean_D, axes_KD))
    domain = Domain(recogniser, mean_D, axes_KD, np.zeros(0, np.float32))
    return Domain(recogniser, mean_D, axes_KD, np.sort(domain._measure_distances(held_out_ND)))


def read_domain(folder: Path) -> Domain | None:
    """The domain of a checkpoint, None where it has none. Raises ModelError for any other file."""
    file = folder / DOMAIN_FILE
    if not file.is_file():
        return None
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            domain = Domain(
                str(arrays["recogniser"]),
                *(arrays[name].astype(np.float32) for name in ("mean", "axes", "distances")),
            )
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{file} cannot be read: {error}",
            expected="a domain that training wrote",
            do="copy the checkpoint again, or remove that file to do without",
        ) from error
    if domain.axes_KD.ndim != 2 or domain.mean_D.shape != domain.axes_KD.shape[1:]:
        raise ModelError(
            f"{file} holds axes of shape {domain.axes_KD.shape} and a mean of {domain.mean_D.shape}",
            expected="axes (K, D) and a mean (D)",
            do="copy the checkpoint again, or remove that file to do without",
        )
    return domain
