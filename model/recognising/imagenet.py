"""The thousand classes of ImageNet, in the order of the challenge (Russakovsky et al. 2015), and our
categories over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NUM_CLASSES = 1000

_NAMES = (
    "tench|goldfish|great white shark|tiger shark|hammerhead shark|electric ray|stingray|rooster|hen|ostrich|"
    "brambling|goldfinch|house finch|junco|indigo bunting|American robin|bulbul|jay|magpie|chickadee|"
    "American dipper|kite|bald eagle|vulture|great grey owl|fire salamander|smooth newt|newt|"
    "spotted salamander|axolotl|American bullfrog|tree frog|tailed frog|loggerhead sea turtle|"
    "leatherback sea turtle|mud turtle|terrapin|box turtle|banded gecko|green iguana|Carolina anole|"
    "desert grassland whiptail lizard|agama|frilled-necked lizard|alligator lizard|Gila monster|"
    "European green lizard|chameleon|Komodo dragon|Nile crocodile|American alligator|triceratops|worm snake|"
    "ring-necked snake|eastern hog-nosed snake|smooth green snake|kingsnake|garter snake|water snake|"
    "vine snake|night snake|boa constrictor|African rock python|Indian cobra|green mamba|sea snake|"
    "Saharan horned viper|eastern diamondback rattlesnake|sidewinder rattlesnake|trilobite|harvestman|"
    "scorpion|yellow garden spider|barn spider|European garden spider|southern black widow|tarantula|"
    "wolf spider|tick|centipede|black grouse|ptarmigan|ruffed grouse|prairie grouse|peafowl|quail|partridge|"
    "African grey parrot|macaw|sulphur-crested cockatoo|lorikeet|coucal|bee eater|hornbill|hummingbird|"
    "jacamar|toucan|drake|red-breasted merganser|goose|black swan|tusked elephant|echidna|platypus|wallaby|"
    "koala|wombat|jellyfish|sea anemone|brain coral|flatworm|nematode|conch|snail|slug|sea slug|chiton|"
    "chambered nautilus|Dungeness crab|rock crab|fiddler crab|red king crab|American lobster|spiny lobster|"
    "crayfish|hermit crab|isopod|white stork|black stork|spoonbill|flamingo|little blue heron|great egret|"
    "bittern|crane|limpkin|common gallinule|American coot|bustard|ruddy turnstone|dunlin|common redshank|"
    "dowitcher|oystercatcher|pelican|king penguin|albatross|grey whale|killer whale|dugong|sea lion|"
    "Chihuahua|Japanese Chin|Maltese|Pekingese|Shih Tzu|King Charles Spaniel|Papillon|toy terrier|"
    "Rhodesian Ridgeback|Afghan Hound|Basset Hound|Beagle|Bloodhound|Bluetick Coonhound|"
    "Black and Tan Coonhound|Treeing Walker Coonhound|English foxhound|Redbone Coonhound|borzoi|"
    "Irish Wolfhound|Italian Greyhound|Whippet|Ibizan Hound|Norwegian Elkhound|Otterhound|Saluki|"
    "Scottish Deerhound|Weimaraner|Staffordshire Bull Terrier|American Staffordshire Terrier|"
    "Bedlington Terrier|Border Terrier|Kerry Blue Terrier|Irish Terrier|Norfolk Terrier|Norwich Terrier|"
    "Yorkshire Terrier|Wire Fox Terrier|Lakeland Terrier|Sealyham Terrier|Airedale Terrier|Cairn Terrier|"
    "Australian Terrier|Dandie Dinmont Terrier|Boston Terrier|Miniature Schnauzer|Giant Schnauzer|"
    "Standard Schnauzer|Scottish Terrier|Tibetan Terrier|Australian Silky Terrier|"
    "Soft-coated Wheaten Terrier|West Highland White Terrier|Lhasa Apso|Flat-Coated Retriever|"
    "Curly-coated Retriever|Golden Retriever|Labrador Retriever|Chesapeake Bay Retriever|"
    "German Shorthaired Pointer|Vizsla|English Setter|Irish Setter|Gordon Setter|Brittany spaniel|"
    "Clumber Spaniel|English Springer Spaniel|Welsh Springer Spaniel|Cocker Spaniel|Sussex Spaniel|"
    "Irish Water Spaniel|Kuvasz|Schipperke|Groenendael|Malinois|Briard|Australian Kelpie|Komondor|"
    "Old English Sheepdog|Shetland Sheepdog|collie|Border Collie|Bouvier des Flandres|Rottweiler|"
    "German Shepherd Dog|Dobermann|Miniature Pinscher|Greater Swiss Mountain Dog|Bernese Mountain Dog|"
    "Appenzeller Sennenhund|Entlebucher Sennenhund|boxer dog|Bullmastiff|Tibetan Mastiff|French Bulldog|"
    "Great Dane|St. Bernard|husky|Alaskan Malamute|Siberian Husky|Dalmatian|Affenpinscher|Basenji|pug|"
    "Leonberger|Newfoundland|Great Pyrenees|Samoyed|Pomeranian|Chow Chow|Keeshond|Brussels griffon|"
    "Pembroke Welsh Corgi|Cardigan Welsh Corgi|Toy Poodle|Miniature Poodle|Standard Poodle|"
    "Mexican hairless dog|grey wolf|Alaskan tundra wolf|maned wolf|coyote|dingo|dhole|African wild dog|hyena|"
    "red fox|kit fox|Arctic fox|grey fox|tabby cat|tiger cat|Persian cat|Siamese cat|Egyptian Mau|cougar|"
    "lynx|leopard|snow leopard|jaguar|lion|tiger|cheetah|brown bear|American black bear|polar bear|"
    "sloth bear|mongoose|meerkat|tiger beetle|ladybug|ground beetle|longhorn beetle|leaf beetle|dung beetle|"
    "rhinoceros beetle|weevil|fly|bee|ant|grasshopper|cricket|stick insect|cockroach|praying mantis|cicada|"
    "leafhopper|lacewing|dragonfly|damselfly|red admiral butterfly|ringlet butterfly|monarch butterfly|"
    "small white butterfly|sulphur butterfly|gossamer-winged butterfly|starfish|sea urchin|sea cucumber|"
    "cottontail rabbit|hare|Angora rabbit|hamster|porcupine|fox squirrel|marmot|beaver|guinea pig|"
    "common sorrel horse|zebra|pig|wild boar|warthog|hippopotamus|ox|water buffalo|bison|ram|bighorn sheep|"
    "Alpine ibex|hartebeest|impala|gazelle|Arabian camel|llama|weasel|mink|European polecat|"
    "black-footed ferret|otter|skunk|badger|armadillo|three-toed sloth|orangutan|gorilla|chimpanzee|gibbon|"
    "siamang|guenon|patas monkey|baboon|macaque|langur|black-and-white colobus|proboscis monkey|marmoset|"
    "white-headed capuchin|howler monkey|titi monkey|Geoffroy's spider monkey|common squirrel monkey|"
    "ring-tailed lemur|indri|Asian elephant|African bush elephant|red panda|giant panda|barracouta|eel|"
    "silver salmon|rock beauty|clownfish|sturgeon|garfish|lionfish|pufferfish|abacus|abaya|academic gown|"
    "accordion|acoustic guitar|aircraft carrier|airliner|airship|altar|ambulance|amphibious vehicle|"
    "analog clock|apiary|apron|trash can|assault rifle|backpack|bakery|balance beam|balloon|ballpoint pen|"
    "Band-Aid|banjo|banister|barbell|barber chair|barbershop|barn|barometer|barrel|wheelbarrow|baseball|"
    "basketball|bassinet|bassoon|swimming cap|bath towel|bathtub|station wagon|lighthouse|beaker|"
    "bearskin hat|beer bottle|beer glass|bell tower|baby bib|tandem bicycle|bikini|ring binder|binoculars|"
    "birdhouse|boathouse|bobsleigh|bolo tie|poke bonnet|bookcase|bookstore|bottle cap|hunting bow|bow tie|"
    "brass plaque|bra|breakwater|breastplate|broom|bucket|buckle|bulletproof vest|high-speed train|"
    "butcher shop|taxi|cauldron|candle|cannon|kayak|can opener|cardigan|car mirror|carousel|tool kit|"
    "cardboard box|car wheel|automated teller machine|cassette|cassette player|castle|catamaran|CD player|"
    "cello|mobile phone|chain|chain-link fence|chain mail|chainsaw|storage chest|chiffonier|chime|"
    "china cabinet|Christmas stocking|church|movie theater|cleaver|cliff dwelling|cloak|clogs|"
    "cocktail shaker|coffee mug|coffeepot|coil|combination lock|computer keyboard|candy store|container ship|"
    "convertible|corkscrew|cornet trumpet|cowboy boot|cowboy hat|cradle|construction crane|crash helmet|"
    "crate|infant bed|slow cooker|croquet ball|crutch|cuirass|dam|desk|desktop computer|"
    "rotary dial telephone|diaper|digital clock|digital watch|dining table|dishcloth|dishwasher|disc brake|"
    "dock|dog sled|dome|doormat|drilling rig|drum|drumstick|dumbbell|Dutch oven|electric fan|electric guitar|"
    "electric locomotive|entertainment centre|envelope|espresso machine|face powder|feather boa|"
    "filing cabinet|fireboat|fire truck|fire screen|flagpole|flute|folding chair|football helmet|forklift|"
    "fountain|fountain pen|four-poster bed|freight car|French horn|frying pan|fur coat|garbage truck|"
    "gas mask|gas pump|goblet|go-kart|golf ball|golf cart|gondola|gong|gown|grand piano|greenhouse|"
    "radiator grille|grocery store|guillotine|hair clip|hair spray|half-track|hammer|hamper|hair dryer|"
    "hand-held computer|handkerchief|hard disk drive|harmonica|harp|combine harvester|hatchet|holster|"
    "home theater|honeycomb|hook|hoop skirt|gymnastic horizontal bar|horse-drawn cart|hourglass|iPod|"
    "clothes iron|carved pumpkin|jeans|jeep|T-shirt|jigsaw puzzle|rickshaw|joystick|kimono|knee pad|knot|"
    "lab coat|ladle|lampshade|laptop computer|lawn mower|lens cap|letter opener|library|lifeboat|lighter|"
    "limousine|ocean liner|lipstick|loafer|lotion|music speaker|magnifying glass|sawmill|magnetic compass|"
    "messenger bag|mailbox|leotard|swimsuit|manhole cover|maraca|marimba|mask|matchstick|maypole|maze|"
    "measuring cup|medicine cabinet|megalith|microphone|microwave oven|military uniform|milk can|minibus|"
    "miniskirt|minivan|missile|mitten|mixing bowl|mobile home|vintage car|modem|monastery|computer screen|"
    "moped|mortar and pestle|graduation cap|mosque|mosquito net|motor scooter|mountain bike|tent|"
    "computer mouse|mousetrap|moving van|muzzle|metal nail|neck brace|necklace|baby pacifier|"
    "notebook computer|obelisk|oboe|ocarina|odometer|oil filter|pipe organ|oscilloscope|overskirt|ox cart|"
    "oxygen mask|packet|paddle|paddle wheel|padlock|paintbrush|pajamas|palace|pan flute|paper towel|"
    "parachute|parallel bars|park bench|parking meter|railroad car|patio|payphone|pedestal|pencil case|"
    "pencil sharpener|perfume|Petri dish|photocopier|plectrum|spiked helmet|picket fence|pickup truck|pier|"
    "piggy bank|pill bottle|pillow|ping-pong ball|pinwheel|pirate ship|drink pitcher|block plane|planetarium|"
    "plastic bag|plate rack|farm plow|plunger|Polaroid camera|pole|police van|poncho|pool table|soda bottle|"
    "flowerpot|potter's wheel|power drill|prayer rug|printer|prison|missile|projector|hockey puck|"
    "punching bag|purse|quill|quilt|racing car|racket|radiator|radio|radio telescope|rain barrel|camper van|"
    "fishing reel|reflex camera|refrigerator|remote control|restaurant|revolver|rifle|rocking chair|"
    "rotisserie|eraser|rugby ball|ruler|sneaker|safe|safety pin|salt shaker|sandal|sarong|saxophone|scabbard|"
    "weighing scale|school bus|schooner|scoreboard|old television screen|screw|screwdriver|seat belt|"
    "sewing machine|shield|shoe store|sliding screen|shopping basket|shopping cart|shovel|shower cap|"
    "shower curtain|ski|ski mask|sleeping bag|slide rule|sliding door|slot machine|snorkel|snowmobile|"
    "snowplow|soap dispenser|soccer ball|sock|solar thermal collector|sombrero|soup bowl|keyboard space bar|"
    "space heater|space shuttle|spatula|motorboat|spider web|spindle|sports car|spotlight|stage|"
    "steam locomotive|through arch bridge|steel drum|stethoscope|stole|stone wall|stopwatch|stove|strainer|"
    "tram|stretcher|couch|stupa|submarine|suit|sundial|sunglasses|sunglasses|sunscreen|suspension bridge|mop|"
    "sweatshirt|swimming trunks|swing|electrical switch|syringe|table lamp|tank|tape player|teapot|"
    "teddy bear|television|tennis ball|thatched roof|front curtain|thimble|threshing machine|throne|"
    "tile roof|toaster|tobacco shop|toilet seat|torch|totem pole|tow truck|toy store|tractor|"
    "articulated lorry|tray|trench coat|tricycle|trimaran|tripod|triumphal arch|trolleybus|trombone|hot tub|"
    "turnstile|typewriter keyboard|umbrella|unicycle|upright piano|vacuum cleaner|vase|vault|velvet|"
    "vending machine|vestment|viaduct|violin|volleyball|waffle iron|wall clock|wallet|wardrobe|"
    "military aircraft|sink|washing machine|water bottle|water jug|water tower|whiskey jug|whistle|hair wig|"
    "window screen|window shade|Windsor tie|wine bottle|airplane wing|wok|wooden spoon|wool|split-rail fence|"
    "shipwreck|yawl|yurt|website|comic book|crossword|street sign|traffic light|dust jacket|menu|plate|"
    "guacamole|consomme|hot pot|trifle|ice cream|popsicle|baguette|bagel|pretzel|cheeseburger|hot dog|"
    "mashed potatoes|cabbage|broccoli|cauliflower|zucchini|spaghetti squash|acorn squash|butternut squash|"
    "cucumber|artichoke|bell pepper|cardoon|mushroom|Granny Smith apple|strawberry|orange|lemon|fig|"
    "pineapple|banana|jackfruit|custard apple|pomegranate|hay|carbonara|chocolate syrup|dough|meatloaf|pizza|"
    "pot pie|burrito|red wine|espresso|tea cup|eggnog|mountain|bubble|cliff|coral reef|geyser|lakeshore|"
    "promontory|sandbar|beach|valley|volcano|baseball player|bridegroom|scuba diver|rapeseed|daisy|"
    "lady's slipper|corn|acorn|rose hip|horse chestnut seed|coral fungus|agaric|gyromitra|stinkhorn mushroom|"
    "earth star fungus|hen of the woods mushroom|bolete|ear of corn|toilet paper"
)

CLASS_NAMES: tuple[str, ...] = tuple(_NAMES.split("|"))
"""What each class is called, in plain words."""

_MEMBERS: Mapping[str, str] = {
    "animal": "0-6 25-68 101-126 147-150 269-280 286-299 330-338 340-344 346-347 350-397",
    "bird": "7-24 80-100 127-146",
    "dog": "151-268",
    "cat": "281-285",
    "horse": "339",
    "cow": "345",
    "sheep": "348-349",
    "vehicle": "408 561 573 575 586 595 603 612 690 757 802 847 856 866",
    "car": "475 479 581 656 661 751 817",
    "sedan": "627",
    "suv": "609",
    "wagon": "436",
    "convertible": "511",
    "taxi": "468",
    "truck": "555 569 803 864",
    "lorry": "867",
    "pickup": "717",
    "van": "407 675 734",
    "bus": "654 779 874",
    "train": "466 547 565 705 820 829",
    "boat": "403 472 484 510 554 576 625 628 724 780 814 871 914",
    "airplane": "404 895 908",
    "motorcycle": "665 670",
    "bicycle": "444 671 870 880",
    "ball": "429 430 522 574 722 768 805 852 890",
    "bag": "636 728 748",
    "backpack": "414",
    "umbrella": "879",
    "box": "478 519",
    "bottle": "440 737 898 907",
    "person": "399 400 411 439 445 451 452 457 459 465 474 501 514 515 518 552 560 568 578 601 608 610 614 "
    "615 617 630 638 639 652 655 658 667 689 697 735 770 774 775 793 796 806 808 824 834 841 842 869 887 "
    "903 906 981 982 983",
}
"""Category -> its classes. ImageNet has three classes of people (a ballplayer, a bridegroom, a diver); what
people wear speaks for a person as well. Its "minivan" is what most call a car, and parts of cars are cars."""


def _read_members(ranges: str) -> tuple[int, ...]:
    members: list[int] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        members += range(int(first), int(last or first) + 1)
    return tuple(members)


CLASSES_OF: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {category: _read_members(ranges) for category, ranges in _MEMBERS.items()}
)
"""Category -> the numbers of its classes; no class is in two."""

CATEGORY_OF: Mapping[int, str] = MappingProxyType(
    {number: category for category, members in CLASSES_OF.items() for number in members}
)
"""Class number -> its category; classes of no category are not in it."""

WORN = frozenset(CLASSES_OF["person"]) - {981, 982, 983}
"""The classes that are clothes: they speak for a person and are no words for one."""
