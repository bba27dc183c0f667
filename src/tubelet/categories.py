"""The categories that objects are sorted into, as a tree: what models tell and what queries ask for."""

from __future__ import annotations

from collections.abc import Mapping

PARENTS: Mapping[str, str] = {
    "person": "",
    "man": "person",
    "woman": "person",
    "child": "person",
    "vehicle": "",
    "car": "vehicle",
    "sedan": "car",
    "suv": "car",
    "hatchback": "car",
    "coupe": "car",
    "wagon": "car",
    "convertible": "car",
    "taxi": "car",
    "truck": "vehicle",
    "pickup": "truck",
    "lorry": "truck",
    "van": "vehicle",
    "minivan": "van",
    "bus": "vehicle",
    "train": "vehicle",
    "boat": "vehicle",
    "airplane": "vehicle",
    "motorcycle": "vehicle",
    "bicycle": "vehicle",
    "animal": "",
    "dog": "animal",
    "cat": "animal",
    "bird": "animal",
    "horse": "animal",
    "cow": "animal",
    "sheep": "animal",
    "deer": "animal",
    "ball": "",
    "bag": "",
    "suitcase": "bag",
    "backpack": "bag",
    "umbrella": "",
    "box": "",
    "bottle": "",
    "stroller": "",
    "skateboard": "",
}
"""Category -> the wider category it belongs to, or nothing."""


def list_wider(category: str) -> list[str]:
    """What a category belongs to, the nearest first, without itself; nothing for an unknown one."""
    wider = []
    while category := PARENTS.get(category, ""):
        wider.append(category)
    return wider


def list_lineage(category: str) -> list[str]:
    """A category and all that it belongs to, the narrowest first."""
    return [category, *list_wider(category)]
