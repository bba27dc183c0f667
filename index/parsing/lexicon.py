"""The words a search understands, as plain tables. To teach it a word, add it here.

Words are lower case, with spaces for hyphens. How they are put together: query.py and docs/search.md.
"""

from __future__ import annotations

from collections.abc import Mapping


def _split(words: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(words.split(separator))


MEASURED_COLOURS = _split("black grey white red orange brown beige yellow green teal blue purple pink")
"""The colour names that are measured on pixels: docs/colours.md."""

COLOURS: Mapping[str, tuple[str, ...]] = {
    "black": ("black",),
    "charcoal": ("black", "grey"),
    "grey": ("grey",),
    "gray": ("grey",),
    "greyish": ("grey",),
    "grayish": ("grey",),
    "silver": ("grey",),
    "silvery": ("grey",),
    "dark grey": ("grey", "black"),
    "dark gray": ("grey", "black"),
    "light grey": ("grey", "white"),
    "light gray": ("grey", "white"),
    "white": ("white",),
    "whitish": ("white",),
    "off white": ("white", "beige"),
    "ivory": ("white", "beige"),
    "red": ("red",),
    "reddish": ("red",),
    "crimson": ("red",),
    "scarlet": ("red",),
    "burgundy": ("red",),
    "ruby": ("red",),
    "wine": ("red",),
    "maroon": ("red", "brown"),
    "orange": ("orange",),
    "brown": ("brown",),
    "brownish": ("brown",),
    "bronze": ("brown",),
    "beige": ("beige",),
    "tan": ("beige", "brown"),
    "cream": ("beige", "white"),
    "champagne": ("beige", "grey"),
    "khaki": ("beige", "brown", "green"),
    "yellow": ("yellow",),
    "yellowish": ("yellow",),
    "gold": ("yellow", "beige"),
    "golden": ("yellow", "beige"),
    "green": ("green",),
    "greenish": ("green",),
    "olive": ("green", "brown"),
    "lime": ("green", "yellow"),
    "teal": ("teal",),
    "turquoise": ("teal",),
    "cyan": ("teal", "blue"),
    "aqua": ("teal", "blue"),
    "blue": ("blue",),
    "bluish": ("blue",),
    "navy": ("blue",),
    "navy blue": ("blue",),
    "dark blue": ("blue", "black"),
    "purple": ("purple",),
    "violet": ("purple",),
    "lavender": ("purple",),
    "magenta": ("purple", "pink"),
    "pink": ("pink",),
    "pinkish": ("pink",),
}
"""Colour word -> the measured names that are that colour."""

CLOSE_COLOURS: frozenset[frozenset[str]] = frozenset(
    frozenset(pair.split("-"))
    for pair in _split(
        "black-grey grey-white grey-blue grey-beige white-beige black-brown black-blue red-orange red-pink "
        "red-brown orange-yellow orange-brown brown-beige beige-yellow yellow-green green-teal teal-blue "
        "blue-purple purple-pink"
    )
)
"""Pairs of measured names that light and cameras confuse."""

SHADES = ("dark", "darker", "light", "lighter", "bright", "pale", "deep", "solid", "metallic", "matte")

_CATEGORY_WORDS: Mapping[str, str] = {
    "person": "person|people|persons|pedestrian|human|somebody|someone|anyone|cyclist|bicyclist|biker|"
    "motorcyclist|rider|runner|jogger|walker|skateboarder|skater|worker|police officer|officer|policeman|"
    "driver|bus driver|passenger|crowd|adult|individual|figure|shopper|player",
    "man": "man|men|guy|gentleman|male|businessman",
    "woman": "woman|women|lady|ladies|female|businesswoman",
    "child": "child|children|kid|boy|girl|toddler|baby|babies",
    "vehicle": "vehicle|motor vehicle|line of traffic|queue of traffic|row of traffic",
    "car": "car|auto|automobile|motorcar|motor car|passenger car|police car|patrol car|sports car|sport car|"
    "racing car|volvo|toyota|honda|bmw|audi",
    "sedan": "sedan|saloon|limousine|limo|cadillac",
    "suv": "suv|spv|jeep|crossover|cross over|off roader|land rover|range rover",
    "hatchback": "hatchback|hatch back",
    "coupe": "coupe|coupé",
    "wagon": "wagon|station wagon|estate car",
    "convertible": "convertible|cabrio|cabriolet",
    "taxi": "taxi|cab|taxicab",
    "truck": "truck|fire truck|firetruck|fire engine|dump truck|garbage truck|tow truck|box truck",
    "lorry": "lorry|lorries|semi|semi truck|semitruck|semi trailer|tractor trailer|18 wheeler|wheeler|"
    "cargo truck|flatbed|flatbed truck|freight truck|tanker",
    "pickup": "pickup|pick up|pickup truck|pick up truck|pickup cargo",
    "van": "van|mpv|delivery van|cargo van|ambulance",
    "minivan": "minivan|mini van",
    "bus": "bus|buses|coach|minibus|school bus|double decker",
    "train": "train|tram|streetcar|trolley|locomotive",
    "boat": "boat|ship|ferry|ferries|vessel|yacht|canoe|kayak",
    "airplane": "airplane|aeroplane|plane|aircraft|jet|helicopter|drone",
    "motorcycle": "motorcycle|motorbike|motor bike|scooter|moped",
    "bicycle": "bicycle|bike|cycle|pushbike",
    "animal": "animal",
    "dog": "dog|puppy|puppies|hound",
    "cat": "cat|kitten",
    "bird": "bird|duck|pigeon|seagull|goose|geese|crow|swan",
    "horse": "horse|pony|ponies",
    "cow": "cow|cattle|bull",
    "sheep": "sheep|lamb|goat",
    "deer": "deer|stag",
    "ball": "ball|football|basketball",
    "bag": "bag|handbag|purse|shopping bag",
    "suitcase": "suitcase|luggage|trolley bag",
    "backpack": "backpack|rucksack",
    "umbrella": "umbrella|parasol",
    "box": "box|boxes|carton|parcel|package",
    "bottle": "bottle",
    "stroller": "stroller|pram|pushchair|buggy|buggies",
    "skateboard": "skateboard",
}
"""Category -> its words in the singular, and plurals that do not just add an s."""

CATEGORIES: Mapping[str, str] = {
    form: category
    for category, words in _CATEGORY_WORDS.items()
    for word in words.split("|")
    for form in (word, f"{word}s")
}
"""Category word, singular or plural -> category."""

SIZES: Mapping[str, str] = {
    "tiny": "tiny",
    "very small": "tiny",
    "small": "small",
    "little": "small",
    "smaller": "small",
    "small sized": "small",
    "compact": "small",
    "medium": "medium",
    "medium sized": "medium",
    "midsize": "medium",
    "mid size": "medium",
    "midsized": "medium",
    "large": "large",
    "larger": "large",
    "big": "large",
    "bigger": "large",
    "huge": "large",
    "giant": "large",
    "massive": "large",
    "enormous": "large",
}
"""Size word -> measured size."""

SCENERY = (
    r"(?:{colours}\s)?(?:stop|traffic|street|road|turn|speed|parking|yield)\s(?:sign|light|line|signal|limit|lot|lots|space|"
    r"spot|meter|bump|garage)s?",
    r"(?:(?:left|right|bus|bike|bicycle|car|turn|turning|fast|slow|middle|center|centre|hand|train|passing|"
    r"straight)\s){1,4}(?:lane|track|station|park|turn\slane)s?",
    r"(?:bus|tram|train)\sstop",
    r"(?:{colours}|double|dashed|solid|stop|traffic|broken)(?:\s(?:{colours}|double|dashed|solid|broken)){0,3}\s"
    r"(?:line|light|signal|arrow|marking|crosswalk|zone)s?",
    r"(?:turn|turning|brake|head|tail)\s(?:signal|light|lamp)s?",
    r"(?:medium|moderate|normal|average)\s(?:rate\sof\s)?speed",
    r"(?:cross|side)\s(?:walk|street)s?",
    r"(?<!line of )(?<!queue of )(?<!row of )traffic|intersections?|in turn|post office",
    r"(?:switch|chang|merg|mov)(?:es?|ed|ing)?\s(?:(?:its|the|his|her|their)\s)?lanes?"
    r"(?:\s(?:in)?to\s(?:the\s)?(?:left|right))?",
    r"merg(?:e|es|ed|ing)\s(?:(?:in)?to\s|on\s?to\s)?(?:the\s)?(?:left|right)(?:\s(?:lane|line))?",
    r"(?:right|left)\s(?:lane|line)|(?<=down\sthe\s)straight",
    r"(?:is|are|was|were)\sgoing\sto(?=\s(?!(?:the|an?|his|her|its|left|right)\b)\w)",
)
"""Things of the street whose words would be mistaken for an object's colour, place or motion."""

RELATIONS: Mapping[str, str] = {
    word: kind
    for kind, words in {
        "followed-by": "followed closely by|closely followed by|followed by|followed aside by|following by|"
        "chased by|trailed by|tailed by|pursued by",
        "follows": "following closely behind|following behind|follows behind|following|follows|follow|"
        "chasing|chases|chase|trailing|trails|tailing|tails|pursuing|pursues|running after|runs after",
        "behind": "right behind|directly behind|close behind|behind|in back of|to the rear of",
        "in-front-of": "right in front of|directly in front of|in front of|ahead of",
        "next-to": "next to|side by side with|beside|besides|near to|near|nearby|close to|alongside|"
        "parallel to|adjacent to|around|by|between|against|among|amongst",
        "with": "along with|together with|accompanied by|with",
        "passes": "passing by|passing close to|passing very close to|passing over|pass over|passes by|"
        "pass by|passing|passes|pass|passed|going past|goes past|driving past|drives past|past",
        "passed-by": "is passed by|was passed by|being passed by|gets passed by|passed by",
        "overtakes": "overtaking|overtakes|overtake|overtook",
        "overtaken-by": "overtaken by",
        "crosses": "crossing the path of|crosses the path of|cross the path of|crossing paths with|"
        "crosses paths with|cutting in front of|cuts in front of|cutting off|cuts off|"
        "crossing in front of|crosses in front of",
        "touches": "riding on|riding|rides|holding|holds|carrying|carries|pushing|pushes|pulling|pulls|"
        "towing|tows|dragging|drags|driven by|hit by|hitting|hits|colliding with|collides with|crashing into|"
        "crashes into|bumping into|bumps into|touching|touches",
        "towards": "catching up with|catches up with|catching up to|catches up to|catch up with|"
        "getting close to|gets close to|get close to|getting closer to|gets closer to|closing in on|"
        "closes in on|gaining on|walking up to|walks up to|approaching|approaches|approach|towards|toward",
        "away-from": "away from",
        "left-of": "to the left of|on the left of|on the left side of|on the left hand side of|left of",
        "right-of": "to the right of|on the right of|on the right side of|on the right hand side of|right of",
        "above": "on top of|above|over",
        "below": "underneath|beneath|below|under",
        "": "than|like|unlike",
    }.items()
    for word in words.split("|")
}
"""What comes after these words is another object, and how the object that is looked for stands to it.

An empty kind is a comparison, which asks for nothing.
"""

MOVING_RELATIONS = frozenset(
    _split("follows passes overtakes crosses towards away-from followed-by passed-by overtaken-by")
)
"""Relations that say that the object moves, should no other object be recognised after them."""

BACKWARD_RELATIONS: Mapping[str, str] = {
    **{word: kind for word, kind in RELATIONS.items() if kind in ("follows", "behind", "next-to")},
    "followed closely": "follows",
    "followed aside": "follows",
    "followed": "follows",
    "in front": "in-front-of",
    "ahead": "in-front-of",
    "in tow": "follows",
}
"""At the end of a clause these say how the other object stands: "with a grey van following"."""

PORTABLE = frozenset(_split("bag suitcase backpack umbrella box bottle stroller skateboard ball"))
"""A person "with" one of these has it on or at them."""

RIDDEN = (
    *("bike", "bicycle", "motorcycle", "motorbike", "scooter", "moped", "horse", "pony", "skateboard"),
    *("bus", "boat", "ship", "ferry", "train"),
)
"""What somebody may be "on"."""

NUMBERS: Mapping[str, tuple[int, int | None]] = {
    **{
        word: (number, number)
        for number, word in enumerate(
            _split("two three four five six seven eight nine ten eleven twelve"), start=2
        )
    },
    "a pair of": (2, 2),
    "a couple of": (2, 2),
    "both": (2, 2),
    "a few": (2, None),
    "few": (2, None),
    "some": (2, None),
    "several": (3, None),
    "multiple": (2, None),
    "various": (2, None),
    "many": (4, None),
    "lots of": (4, None),
    "a lot of": (4, None),
    "numerous": (4, None),
    "a group of": (3, None),
    "a crowd of": (5, None),
}
"""Number word -> least and most; no most where it is open."""

FILLERS = frozenset(
    _split(
        "find show search look give get list all any some every video clip footage scene frame picture image "
        "shot moment moments object objects thing things something anything please where when which who "
        "whose me us i see want need can could you do does did was were has have had been being go while its "
        "his her their then from up down left right top bottom side another other it he she also very just "
        "forward ahead across onto through out"
    )
)
"""Words that say nothing about what to find; left over, they are not looked up."""
