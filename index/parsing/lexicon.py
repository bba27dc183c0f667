"""The words a search understands, as plain tables. To teach it a word, add it here.

Words are lower case, with spaces for hyphens. How they are put together: query.py and docs/search.md.
"""

from __future__ import annotations

from collections.abc import Mapping


def _split(words: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(words.split(separator))


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
    """The categories that a category belongs to, the nearest first, without itself."""
    wider = []
    while category := PARENTS.get(category, ""):
        wider.append(category)
    return wider


_CATEGORY_WORDS: Mapping[str, str] = {
    "person": "person|people|persons|pedestrian|human|somebody|someone|anyone|cyclist|bicyclist|biker|"
    "motorcyclist|rider|runner|jogger|walker|skateboarder|skater|worker|police officer|officer|policeman|"
    "driver|bus driver|passenger|crowd|adult|individual|figure|shopper|player",
    "man": "man|men|guy|gentleman|male|businessman",
    "woman": "woman|women|lady|ladies|female|businesswoman",
    "child": "child|children|kid|boy|girl|toddler|baby|babies",
    "vehicle": "vehicle|motor vehicle",
    "car": "car|auto|automobile|police car|patrol car|sports car|sport car|racing car|volvo|toyota|honda|"
    "bmw|audi",
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
    r"(?:stop|traffic|street|road|turn|speed|parking|yield)\s(?:sign|light|line|signal|limit|lot|lots|space|"
    r"spot|meter|bump|garage)s?",
    r"(?:(?:left|right|bus|bike|bicycle|car|turn|turning|fast|slow|middle|center|centre|hand|train|passing|"
    r"straight)\s)+"
    r"(?:lane|stop|track|station|park|turn\slane)s?",
    r"(?:{colours}|double|dashed|solid|stop|traffic|broken)(?:\s(?:{colours}|double|dashed|solid|broken))*\s"
    r"(?:line|light|signal|arrow|marking|crosswalk|zone)s?",
    r"(?:turn|turning|brake|head|tail)\s(?:signal|light|lamp)s?",
    r"(?:medium|moderate|normal|average)\s(?:rate\sof\s)?speed",
    r"(?:cross|side)\s(?:walk|street)s?",
    r"traffic|intersections?|in turn|post office",
)
"""Things of the street whose words would be mistaken for an object's colour, place or motion."""

RELATIONS = _split(
    "followed closely by|closely followed by|followed by|followed aside by|following by|following|"
    "follows|followed|follow|behind|in front of|ahead of|next to|beside|besides|near|nearby|close to|"
    "passing by|passing|passes|passed by|passed|overtaking|overtakes|overtook|overtaken by|alongside|"
    "parallel to|along with|together with|with|by|towards|toward|past|between|around|under|above|below|"
    "than|like|catches up with|catching up with|away from|against|riding|holding|carrying|pushing|"
    "pulling|wearing|chasing|chased by|hit by|hits|hitting",
    "|",
)
"""What comes after these words is another thing, not the object that is looked for."""

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
