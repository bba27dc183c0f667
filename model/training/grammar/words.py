"""The grammar's nouns and verbs, as plain tables. To teach it a word, add it here.

Each entry has a usual wording, others that training sees as well, and some that it never sees (`held_out`). A
verb stands in braces in its base form; `inflect` puts it into the form that a sentence needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from tubelet.model.training.world.spec import Action, Category, Split

Form = Literal["base", "third", "ing"]
Mover = Literal["vehicle", "rider", "person", "dog", "thing"]
Item = TypeVar("Item")

USUAL_SHARE = 0.6
"""How often training hears the usual wording: what a trained model then says by itself."""

HELD_OUT_SHARE = 0.75
"""How often held-out text takes a wording that training never heard, where there is one."""


@dataclass(frozen=True, slots=True)
class Wording:
    """Ways to say one thing."""

    usual: str
    others: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (self.usual, *self.others, *self.held_out)

    def choose(self, generator: np.random.Generator, split: Split, *, usual: float = USUAL_SHARE) -> str:
        """One of the ways that this split may use."""
        if split == "held-out" and self.held_out and generator.random() < HELD_OUT_SHARE:
            return pick(generator, self.held_out)
        if not self.others or generator.random() < usual:
            return self.usual
        return pick(generator, self.others)


def pick(generator: np.random.Generator, items: Sequence[Item]) -> Item:
    """One of the items, all equally likely."""
    return items[int(generator.integers(len(items)))]


def _say(usual: str, others: str = "", held_out: str = "") -> Wording:
    def split(text: str) -> tuple[str, ...]:
        return tuple(part for part in text.split("|") if part)

    return Wording(usual, split(others), split(held_out))


NOUNS: Mapping[Category, Wording] = {
    "car": _say("car", "automobile|motor car", "auto|motorcar"),
    "van": _say("van", "delivery van", "cargo van"),
    "pickup": _say("pickup", "pickup truck", "pick-up truck|pick-up"),
    "suv": _say("SUV", "jeep", "crossover"),
    "bus": _say("bus", "coach", "double-decker"),
    "truck": _say("truck", "lorry|cargo truck", "box truck|semi truck"),
    "motorbike": _say("motorbike", "motorcycle", "moped|scooter"),
    "bicycle": _say("bicycle", "bike", "cycle|pushbike"),
    "person": _say("person", "pedestrian", "walker|individual"),
    "dog": _say("dog", "hound", "puppy"),
    "ball": _say("ball", "football", "basketball"),
    "box": _say("box", "carton|package", "parcel"),
}

MOVERS: Mapping[Category, Mover] = {
    "car": "vehicle",
    "van": "vehicle",
    "pickup": "vehicle",
    "suv": "vehicle",
    "bus": "vehicle",
    "truck": "vehicle",
    "motorbike": "rider",
    "bicycle": "rider",
    "person": "person",
    "dog": "dog",
    "ball": "thing",
    "box": "thing",
}

COLOUR_WORDS: Mapping[str, Wording] = {
    "black": _say("black"),
    "grey": _say("grey", "gray|silver", "silvery|greyish"),
    "white": _say("white", "", "whitish"),
    "red": _say("red", "crimson", "scarlet|reddish"),
    "orange": _say("orange"),
    "brown": _say("brown", "", "brownish"),
    "beige": _say("beige"),
    "yellow": _say("yellow", "", "yellowish"),
    "green": _say("green", "", "greenish"),
    "teal": _say("teal", "turquoise", ""),
    "blue": _say("blue", "navy", "bluish|navy blue"),
    "purple": _say("purple", "violet", "lavender"),
    "pink": _say("pink", "", "pinkish"),
}
"""Words that mean exactly one of the measured names, here and in a search."""

VERBS: Mapping[str, tuple[str, str]] = {
    "approach": ("approaches", "approaching"),
    "be": ("is", ""),
    "begin": ("begins", "beginning"),
    "change": ("changes", "changing"),
    "circle": ("circles", "circling"),
    "come": ("comes", "coming"),
    "continue": ("continues", "continuing"),
    "cross": ("crosses", "crossing"),
    "do": ("does", "doing"),
    "drive": ("drives", "driving"),
    "drop": ("drops", "dropping"),
    "fall": ("falls", "falling"),
    "follow": ("follows", "following"),
    "go": ("goes", "going"),
    "halt": ("halts", "halting"),
    "keep": ("keeps", "keeping"),
    "loop": ("loops", "looping"),
    "make": ("makes", "making"),
    "merge": ("merges", "merging"),
    "move": ("moves", "moving"),
    "overtake": ("overtakes", "overtaking"),
    "pass": ("passes", "passing"),
    "proceed": ("proceeds", "proceeding"),
    "pull": ("pulls", "pulling"),
    "ride": ("rides", "riding"),
    "roll": ("rolls", "rolling"),
    "run": ("runs", "running"),
    "set": ("sets", "setting"),
    "stand": ("stands", "standing"),
    "start": ("starts", "starting"),
    "stay": ("stays", "staying"),
    "steer": ("steers", "steering"),
    "stop": ("stops", "stopping"),
    "swerve": ("swerves", "swerving"),
    "switch": ("switches", "switching"),
    "take": ("takes", "taking"),
    "trail": ("trails", "trailing"),
    "travel": ("travels", "travelling"),
    "tumble": ("tumbles", "tumbling"),
    "turn": ("turns", "turning"),
    "veer": ("veers", "veering"),
    "wait": ("waits", "waiting"),
    "walk": ("walks", "walking"),
}
"""Base form -> third person and participle. "A car is parked" becomes "a car parked": no "being"."""

THING = "{thing}"
"""Where a phrase names the other object: "another vehicle" when it is not known."""

_ALL: tuple[Mover, ...] = ("vehicle", "rider", "person", "dog", "thing")

_LEFT_RIGHT = {
    side: _say(
        f"{{turn}} {side}",
        f"{{make}} a {side} turn|{{take}} a {side} turn|{{turn}} to the {side}",
        f"{{veer}} {side}|{{take}} a {side}|{{steer}} to the {side}|{{swerve}} {side}",
    )
    for side in ("left", "right")
}
_LANES = {
    side: _say(
        f"{{change}} to the {side} lane",
        f"{{switch}} to the {side} lane|{{change}} lanes to the {side}",
        f"{{move}} over to the {side} lane|{{merge}} into the {side} lane",
    )
    for side in ("left", "right")
}

PHRASES: Mapping[Action, Mapping[Mover, Wording]] = {
    "parked": {
        "vehicle": _say("{be} parked", "{stand} still|{be} stationary", "{stay} motionless|{be} at rest"),
        "rider": _say("{stand} still", "{be} parked|{be} stationary", "{stay} motionless|{be} at rest"),
        "person": _say("{stand} still", "{wait}|{stay} still", "{stay} motionless"),
        "dog": _say("{stand} still", "{wait}|{stay} still", "{stay} motionless"),
        "thing": _say("{stay} still", "{be} stationary", "{stay} motionless|{be} at rest"),
    },
    "straight": {
        "vehicle": _say(
            "{go} straight",
            "{drive} straight ahead|{keep} straight|{move} straight ahead|{run} straight on",
            "{travel} straight on|{proceed} straight|{continue} straight",
        ),
        "rider": _say(
            "{go} straight",
            "{ride} straight ahead|{keep} straight|{move} straight ahead",
            "{travel} straight on",
        ),
        "person": _say(
            "{walk} straight ahead", "{go} straight|{keep} straight", "{proceed} straight on foot"
        ),
        "dog": _say("{run} straight ahead", "{go} straight|{keep} straight", "{proceed} straight"),
        "thing": _say("{move} straight ahead", "{go} straight|{roll} straight on", "{travel} straight on"),
    },
    "turn-left": dict.fromkeys(_ALL, _LEFT_RIGHT["left"]),
    "turn-right": dict.fromkeys(_ALL, _LEFT_RIGHT["right"]),
    "u-turn": dict.fromkeys(
        _ALL,
        _say("{make} a U-turn", "{do} a U-turn|{turn} around", "{take} a U-turn|{turn} back"),
    ),
    "stop": dict.fromkeys(
        _ALL,
        _say("{stop}", "{come} to a stop|{halt}", "{come} to a standstill|{come} to a halt"),
    ),
    "start": dict.fromkeys(
        _ALL,
        _say("{start} moving", "{begin} to move|{set} off", "{start} to move|{begin} moving"),
    ),
    "lane-change-left": dict.fromkeys(_ALL, _LANES["left"]),
    "lane-change-right": dict.fromkeys(_ALL, _LANES["right"]),
    "overtake": dict.fromkeys(_ALL, _say("{overtake} {thing}", "{pass} {thing}", "{pass} by {thing}")),
    "follow": dict.fromkeys(
        _ALL,
        _say("{follow} {thing}", "{go} behind {thing}", "{move} along behind {thing}"),
    ),
    "cross": dict.fromkeys(
        _ALL,
        _say("{cross} the road", "{go} across the road|{cross} the street", "{come} across the street"),
    ),
    "circle": dict.fromkeys(
        _ALL,
        _say("{go} in a circle", "{move} round in a circle|{circle} around", "{loop} around"),
    ),
    "fall": dict.fromkeys(
        _ALL,
        _say("{fall}", "{fall} down|{drop} to the ground", "{tumble} to the ground"),
    ),
}
"""What each action is called, by who does it."""

WIDER: Mapping[Mover, str] = {
    "vehicle": "vehicle",
    "rider": "vehicle",
    "person": "person",
    "dog": "animal",
    "thing": "object",
}


def inflect(phrase: str, form: Form) -> str:
    """The phrase with its verb in a form: "{turn} left" becomes "turns left" or "turning left"."""

    def replace(match: re.Match[str]) -> str:
        base = match[1]
        if base == "thing":
            return match[0]
        third, participle = VERBS[base]
        return {"base": base, "third": third, "ing": participle}[form]

    return re.sub(r"\{(\w+)\}", replace, phrase).strip()
