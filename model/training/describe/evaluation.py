"""What the generated sentences get right, on moments that were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tubelet.model.pixelrefer.generate import Decoder
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import DESCRIBE_VIDEO, PromptTokenizer, RegionRows, build_prompt
from tubelet.model.training.describe.answering import encode_regions
from tubelet.model.training.describe.batches import list_objects, open_features
from tubelet.model.training.describe.features import join_region
from tubelet.model.training.describe.rendered import thin_out
from tubelet.model.training.describe.samples import PreparedRegion
from tubelet.model.training.describe.warm_up import open_pool
from tubelet.model.training.grammar.facts import MomentFacts, tell_moment
from tubelet.model.training.grammar.reading import read_caption

MAX_NEW_TOKENS = 48
NUM_ROWS = 32
KINDS = ("left", "right", "straight", "other", "u")


@dataclass(frozen=True, slots=True, eq=False)
class JudgedMoment:
    """A region and what is true of it."""

    region: PreparedRegion
    facts: MomentFacts


def choose_moments(pool_folder: Path, num_shards: int, features: Path, count: int) -> list[JudgedMoment]:
    """Whole lives of objects, of each kind as many as of the others, always the same ones."""
    generator = np.random.default_rng(0)
    catalogue = list_objects(pool_folder, num_shards)
    pool, kept = open_pool(pool_folder, num_shards), open_features(features)
    moments: list[JudgedMoment] = []
    for kind in KINDS:
        owners = catalogue.objects.get(kind, ())  # type: ignore[call-overload]
        wanted = count // len(KINDS) if kind != "u" else count // 10
        chosen = 0
        for at in generator.permutation(len(owners)):
            if chosen == wanted:
                break
            clip_number, owner = owners[int(at)]
            clip = pool[clip_number]
            truth, views = clip.find(owner), clip.views[owner]
            facts = tell_moment(clip, truth, truth.start_s, truth.end_s)
            if facts is None or len(views) < 4:
                continue
            places = thin_out(range(len(views)), views)
            times = tuple(views[place].time_s for place in places)
            moments.append(JudgedMoment(join_region(kept.get(clip_number, owner, places), times), facts))
            chosen += 1
    return moments


@torch.inference_mode()
def generate_captions(
    network: PixelRefer,
    tokenizer: PromptTokenizer,
    regions: Sequence[PreparedRegion],
    text: str = DESCRIBE_VIDEO,
) -> list[str]:
    """What the network says of each region, greedily, as the captioner would."""
    rows = encode_regions(network, regions)
    prompts = [
        build_prompt(tokenizer, text, [RegionRows(own, region.times_s)])
        for own, region in zip(rows, regions, strict=True)
    ]
    decoder = Decoder(network, stop_ids=(*network.config.stop_ids, tokenizer.turn_end_id))
    said: list[list[int]] = [[] for _ in prompts]
    for step in decoder.generate(prompts, max_new_tokens=MAX_NEW_TOKENS, num_rows=NUM_ROWS):
        said[step.index].append(step.token_id)
    return [tokenizer.decode(ids).strip() for ids in said]


def judge_captions(captions: Sequence[str], facts: Sequence[MomentFacts]) -> dict[str, float]:
    """Shares of right attributes: category, main colour, all colours, turn, actions.

    "left_right_straight" is the turn's over moments that turn left or right, or go straight and nothing else.
    """
    read = [read_caption(caption) for caption in captions]
    pairs = list(zip(read, facts, strict=True))
    plain = [(r, f) for r, f in pairs if f.turn in ("left", "right") or set(f.actions) == {"straight"}]

    def share(values: Sequence[bool]) -> float:
        return float(np.mean(values)) if values else 0.0

    result = {
        "category": share([r.category == f.thing.category for r, f in pairs]),
        "colour": share([r.colours[:1] == f.thing.colours[:1] for r, f in pairs]),
        "colours": share([set(r.colours) == set(f.thing.colours) for r, f in pairs]),
        "turn": share([r.turn == f.turn for r, f in pairs]),
        "left_right_straight": share([r.turn == f.turn for r, f in plain]),
        "actions": share([r.actions == f.actions for r, f in pairs]),
    }
    result["score"] = (result["category"] + result["colour"] + result["left_right_straight"]) / 3
    return result
