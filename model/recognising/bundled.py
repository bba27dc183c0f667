"""The recogniser that ships: EfficientNet-Lite0 and OpenCV's people detector, nothing to download.

Of each object every second look, the first among them, is shown alone on grey: what stands beside it in the
box is then in one half of the looks only. The vector is half what the network makes of the looks (the root of
its pooled features, so that the cosine is Bhattacharyya's coefficient) and half the object's colours and
shape, which the network hardly tells apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.appearance import NUM_DIMENSIONS as NUM_COLOUR_DIMENSIONS
from tubelet.model.describing.appearance import mean_appearance
from tubelet.model.recognising.base import Crop, Recognition
from tubelet.model.recognising.folding import average_views, choose_category, list_class_words
from tubelet.model.recognising.imagenet import NUM_CLASSES
from tubelet.model.recognising.people import score_person
from tubelet.model.recognising.picturing import make_picture

if TYPE_CHECKING:
    from tubelet.model.recognising.efficientnet import EfficientNetLite0

_NUM_FEATURES = 1280
_PICTURE_PX = 224

Array = NDArray[np.float64]


class BundledRecogniser:
    """Categories of everyday things, and a vector of 1,344 numbers. Runs on the CPU.

    The weights are read at the first call, once; threads may share an instance.
    """

    name = "efficientnet-lite0@1"
    num_dimensions = _NUM_FEATURES + NUM_COLOUR_DIMENSIONS

    def __init__(self) -> None:
        self._network: EfficientNetLite0 | None = None
        self._busy = Lock()

    def recognise(self, objects: Sequence[Sequence[Crop]]) -> list[Recognition]:
        """One answer for each object, in order. Raises ValueError for an object without crops."""
        if not all(objects):
            raise ValueError("an object has no crops; expected at least one")
        pictures = [
            make_picture(crop, _PICTURE_PX, alone=place % 2 == 0)
            for crops in objects
            for place, crop in enumerate(crops)
        ]
        features, log_shares = self._look(pictures)
        answers = []
        start = 0
        for crops in objects:
            part = slice(start, start + len(crops))
            answers.append(_answer(crops, features[part], log_shares[part]))
            start += len(crops)
        return answers

    def load(self) -> None:
        """Read the weights now. Raises ModelError."""
        with self._busy:
            self._open()

    def _look(self, pictures: Sequence[NDArray[np.float32]]) -> tuple[Array, Array]:
        """Features (n, 1280) and logarithms of the classes' shares (n, 1000).

        Each picture is looked at by itself on one thread, several at once. Larger batches are no faster on a
        CPU, and sums whose order depends on batch or threads would give rows that differ from run to run.
        """
        import torch

        with self._busy:
            network = self._open()
            num_threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                with ThreadPoolExecutor(num_threads) as pool:
                    looks = list(pool.map(lambda picture: _look_once(network, picture), pictures))
            finally:
                torch.set_num_threads(num_threads)
        features = np.array([own for own, _ in looks]).reshape(-1, _NUM_FEATURES)
        return features, np.array([shares for _, shares in looks]).reshape(-1, NUM_CLASSES)

    def _open(self) -> EfficientNetLite0:
        from tubelet.model.recognising.efficientnet import load_network

        if self._network is None:
            self._network = load_network()
        return self._network


def _look_once(network: EfficientNetLite0, picture: NDArray[np.float32]) -> tuple[Array, Array]:
    import torch

    with torch.inference_mode():
        x_BCHW = (torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous() - 127) / 128
        features_BC = network.extract_features(x_BCHW)
        log_shares_BK = torch.log_softmax(network.classify(features_BC), dim=1)
    return features_BC[0].double().numpy(), log_shares_BK[0].double().numpy()


def _answer(crops: Sequence[Crop], features: Array, log_shares: Array) -> Recognition:
    weights = [crop.weight for crop in crops]
    shares = average_views(log_shares, weights)
    category, score = choose_category(shares, _score_person(crops))
    return Recognition(category, score, list_class_words(shares, category), _make_vector(crops, features))


def _score_person(crops: Sequence[Crop]) -> float | None:
    """The mean over the looks in which the object is upright; None without any."""
    scores = [(score, crop.weight) for crop in crops if (score := score_person(crop)) is not None]
    if not scores:
        return None
    return float(np.average([score for score, _ in scores], weights=[weight for _, weight in scores]))


def _make_vector(crops: Sequence[Crop], features: Array) -> tuple[float, ...]:
    rooted = np.sqrt(features)
    lengths = np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), 1e-9)
    looks = _scale_to_one((rooted / lengths).mean(axis=0))
    colours = np.zeros(NUM_COLOUR_DIMENSIONS)
    if found := mean_appearance([(crop.image, crop.mask) for crop in crops]):
        colours = np.array(found)
    return tuple(_scale_to_one(np.concatenate([looks, colours])).tolist())


def _scale_to_one(vector: Array) -> Array:
    scaled: Array = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return scaled
