"""ImageNet's classes to our categories."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tubelet.categories import PARENTS, list_lineage
from tubelet.model.recognising.folding import (
    MIN_PROBABILITY,
    average_views,
    choose_category,
    list_class_words,
    measure_categories,
)
from tubelet.model.recognising.imagenet import CATEGORY_OF, CLASS_NAMES, CLASSES_OF, NUM_CLASSES

LAPTOP = CLASS_NAMES.index("laptop computer")


def share(**names: float) -> NDArray[np.float64]:
    """Shares by class name (spaces as `_`); the rest is spread over all classes."""
    shares = np.full(NUM_CLASSES, (1 - sum(names.values())) / NUM_CLASSES)
    for name, value in names.items():
        shares[CLASS_NAMES.index(name.replace("_", " "))] += value
    return shares


def test_every_category_is_known_and_no_class_is_in_two() -> None:
    assert set(CLASSES_OF) <= set(PARENTS)
    assert sum(len(classes) for classes in CLASSES_OF.values()) == len(CATEGORY_OF)
    assert len(CLASS_NAMES) == NUM_CLASSES


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Beagle", "dog"),
        ("dingo", "animal"),
        ("tabby cat", "cat"),
        ("sports car", "car"),
        ("minivan", "car"),
        ("taxi", "taxi"),
        ("jeep", "suv"),
        ("pickup truck", "pickup"),
        ("garbage truck", "truck"),
        ("articulated lorry", "lorry"),
        ("school bus", "bus"),
        ("moving van", "van"),
        ("mountain bike", "bicycle"),
        ("moped", "motorcycle"),
        ("soccer ball", "ball"),
        ("cardboard box", "box"),
        ("trench coat", "person"),
        ("goose", "bird"),
    ],
)
def test_classes_fold_into_categories(name: str, category: str) -> None:
    assert CATEGORY_OF[CLASS_NAMES.index(name)] == category


def test_breeds_add_up_to_a_dog() -> None:
    """No breed is likely by itself, the dog is."""
    shares = share(Beagle=0.2, Whippet=0.2, Saluki=0.2, Vizsla=0.2)
    category, score = choose_category(shares, None)
    assert category == "dog"
    assert score > 0.7
    assert list_class_words(shares, category) == ()


def test_the_breed_is_kept_where_it_is_likely() -> None:
    shares = share(Beagle=0.5, Whippet=0.3)
    assert choose_category(shares, None)[0] == "dog"
    assert list_class_words(shares, "dog") == ("Beagle", "Whippet")


def test_kinds_of_vehicle_that_are_mixed_up_make_a_vehicle() -> None:
    category, score = choose_category(share(tow_truck=0.35, minibus=0.3, sports_car=0.15), None)
    assert category == "vehicle"
    assert score > 0.8


def test_what_is_in_no_category_stays_unknown() -> None:
    assert choose_category(share(laptop_computer=0.9), None) == ("", 0.0)
    assert list_class_words(share(laptop_computer=0.9), "") == ()


def test_nothing_certain_stays_unknown() -> None:
    assert choose_category(share(), None) == ("", 0.0)


def test_the_people_detector_decides_on_people() -> None:
    dressed = share(suit=0.1, jeans=0.1)
    assert choose_category(dressed, 2.0)[0] == "person"
    assert choose_category(dressed, None)[0] == ""
    assert choose_category(dressed, -2.0)[0] == ""
    assert list_class_words(share(suit=0.6), "person") == ()


def test_a_dog_that_stands_upright_is_still_a_dog() -> None:
    assert choose_category(share(Beagle=0.9), 0.0)[0] == "dog"


def test_geometric_means_need_all_views() -> None:
    """A class that one view rules out does not come through on another."""
    agreed = share(Beagle=0.6)
    mixed = average_views(np.log([share(Beagle=0.9), share(laptop_computer=0.9)]), [1.0, 1.0])
    both = average_views(np.log([agreed, agreed]), [1.0, 2.0])
    assert both == pytest.approx(agreed)
    assert mixed.sum() == pytest.approx(1)
    assert (
        average_views(np.log([share(Beagle=0.9), share(laptop_computer=0.9)]), [1.0, 9.0]).argmax() == LAPTOP
    )


@given(
    st.dictionaries(st.integers(0, NUM_CLASSES - 1), st.floats(0, 100), max_size=20),
    st.none() | st.floats(-10, 10),
)
def test_probabilities_hold_together(likely: dict[int, float], person_score: float | None) -> None:
    shares = np.full(NUM_CLASSES, 1 / NUM_CLASSES)
    shares[list(likely)] += list(likely.values())
    shares /= shares.sum()
    probabilities = measure_categories(shares, person_score)
    tops = [value for category, value in probabilities.items() if not PARENTS[category]]
    assert sum(tops) <= 1 + 1e-9
    for category, value in probabilities.items():
        assert all(value <= probabilities[wider] + 1e-9 for wider in list_lineage(category))
    category, score = choose_category(shares, person_score)
    assert (score >= MIN_PROBABILITY) if category else score == 0
