"""From probabilities of ImageNet's classes to one of our categories, with a probability.

    evidence(c) = log p(c) + log w(c)            p(c): the sum over the category's classes
    evidence(person) = log p(person) + log w(person) + a (s + b)
    P = softmax of the evidence over all categories and "nothing of these"

s is `score_person`, held within -2..3. w(c) = (expected share / share of ImageNet's classes) ** 0.5 corrects
for ImageNet having 118 classes of dogs and a dozen of cars (label shift, Saerens et al. 2002); the root makes
it half a correction, since a whole one believes any trace of a car. A category's probability includes those
of the narrower categories in it. The narrowest category that reaches MIN_PROBABILITY is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tubelet.categories import list_lineage
from tubelet.model.recognising.imagenet import CATEGORY_OF, CLASS_NAMES, CLASSES_OF, NUM_CLASSES, WORN

MIN_PROBABILITY = 0.55
MIN_WORD_SHARE = 0.3
"""Share of a class among all of them from which its own name is kept."""

_EXPECTED_SHARES = {"person": 0.2, "car": 0.15, "dog": 0.04, "animal": 0.03, "bird": 0.02, "ball": 0.02}
_EXPECTED_SHARE_OF_OTHERS = 0.012
_EXPECTED_SHARE_OF_NOTHING = 0.35
_CORRECTION = 0.5

_PERSON_SLOPE, _PERSON_OFFSET = 1.2, 0.8
_PERSON_RANGE = (-2.0, 3.0)
_PERSON_UNSEEN = -1.0
"""Evidence for a person where the box is not upright and the detector was not asked."""

_LEAST = 1e-4

Shares = NDArray[np.float64]


def average_views(log_shares_VK: NDArray[np.floating], weights_V: Sequence[float]) -> Shares:
    """The classes' shares of one object seen several times: a weighted geometric mean, (V, 1000) to (1000).

    Geometric, so that a class which one view rules out does not come through on another.
    """
    mean_K = np.average(
        np.asarray(log_shares_VK, np.float64), axis=0, weights=np.asarray(weights_V, np.float64)
    )
    unscaled_K = np.exp(mean_K - mean_K.max())
    shares_K: Shares = unscaled_K / unscaled_K.sum()
    return shares_K


def choose_category(shares_K: Shares, person_score: float | None) -> tuple[str, float]:
    """The category and its probability; ("", 0) where none is likely enough.

    `shares_K` are the classes' shares, (1000), summing to 1.
    """
    probabilities = measure_categories(shares_K, person_score)
    likely = [category for category, value in probabilities.items() if value >= MIN_PROBABILITY]
    if not likely:
        return "", 0.0
    chosen = max(likely, key=lambda category: (len(list_lineage(category)), probabilities[category]))
    return chosen, probabilities[chosen]


def measure_categories(shares_K: Shares, person_score: float | None) -> dict[str, float]:
    """The probability of every category, those of the narrower ones in it included."""
    evidence = {
        category: _weigh(float(shares_K[list(classes)].sum()), _WEIGHTS[category])
        for category, classes in CLASSES_OF.items()
    }
    evidence["person"] += _judge_person(person_score)
    evidence[_NOTHING] = _weigh(float(shares_K[_OTHER_CLASSES].sum()), _WEIGHTS[_NOTHING])
    values = np.array(list(evidence.values()))
    values = np.exp(values - values.max())
    values /= values.sum()
    total: dict[str, float] = {}
    for category, value in zip(evidence, values.tolist(), strict=True):
        for wider in list_lineage(category) if category != _NOTHING else ():
            total[wider] = total.get(wider, 0.0) + value
    return total


def list_class_words(shares_K: Shares, category: str) -> tuple[str, ...]:
    """The names of the classes inside a category that are likely by themselves, the likeliest first.

    What a person wears is no word for the person.
    """
    if not category:
        return ()
    order = np.argsort(-shares_K, kind="stable")[: int(1 / MIN_WORD_SHARE)]
    return tuple(
        CLASS_NAMES[number]
        for number in order.tolist()
        if shares_K[number] >= MIN_WORD_SHARE
        and number not in WORN
        and category in list_lineage(CATEGORY_OF.get(number, category))
        and number in CATEGORY_OF
    )


def _judge_person(score: float | None) -> float:
    if score is None:
        return _PERSON_UNSEEN
    return _PERSON_SLOPE * (float(np.clip(score, *_PERSON_RANGE)) + _PERSON_OFFSET)


def _weigh(share: float, weight: float) -> float:
    return float(np.log(share + _LEAST) + np.log(weight))


def _measure_weights() -> Mapping[str, float]:
    shares = {category: len(classes) / NUM_CLASSES for category, classes in CLASSES_OF.items()}
    weights = {
        category: (_EXPECTED_SHARES.get(category, _EXPECTED_SHARE_OF_OTHERS) / share) ** _CORRECTION
        for category, share in shares.items()
    }
    weights[_NOTHING] = (_EXPECTED_SHARE_OF_NOTHING / (len(_OTHER_CLASSES) / NUM_CLASSES)) ** _CORRECTION
    return weights


_NOTHING = ""
_OTHER_CLASSES = [number for number in range(NUM_CLASSES) if number not in CATEGORY_OF]
_WEIGHTS = _measure_weights()
