"""The loss: how likely the network finds the answers. Only answers count, never the questions.

Prompts, pictures and tokens are made by the functions that inference uses. Conversations about the same
objects share what they begin with: it is laid down once, and each sees it and itself, never another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tubelet.errors import InputError
from tubelet.model.pixelrefer.encoding import encode_views, make_tokens
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import (
    PLACEHOLDER,
    REGION,
    Prompt,
    PromptTokenizer,
    RegionRows,
    build_prompt,
    embed_prompts,
)
from tubelet.model.training.describe.samples import Conversation, PreparedRegion, PreparedSample

SHARED = 0
"""Number of the part that all conversations of a sample share."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Conversations of one sample in one sequence.

    `part` says whose each token is (SHARED or 1, 2…), `position` where it stands in its conversation, and
    `learnt` which tokens are answers.
    """

    prompt: Prompt
    part: tuple[int, ...]
    position: tuple[int, ...]
    learnt: tuple[bool, ...]


class AnswerModel(nn.Module):
    """A network with its tokenizer as the training loop wants it: `forward(batch)` gives the losses."""

    def __init__(self, network: PixelRefer, tokenizer: PromptTokenizer) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer

    def forward(self, batch: Sequence[PreparedSample]) -> dict[str, Tensor]:
        """The mean cross-entropy of the answers' tokens, over all tokens of the batch."""
        regions = [region for sample in batch for region in sample.regions]
        rows = iter(encode_regions(self.network, regions))
        layouts = []
        for sample in batch:
            told = [RegionRows(next(rows), region.times_s) for region in sample.regions]
            layouts.append(lay_out(self.tokenizer, told, sample.conversations))
        return {"loss": score_layouts(self.network, layouts).mean()}


def encode_regions(network: PixelRefer, regions: Sequence[PreparedRegion]) -> list[tuple[Tensor, ...]]:
    """Object tokens of every view of every region; from stored features where a region has them."""
    views = [view for region in regions for view in region.views]
    if regions and regions[0].features:
        kept = [features for region in regions for features in region.features]
        parts = ([part.crop for part in kept], [part.local for part in kept], [part.scene for part in kept])
        crops, locals_, scenes = (
            [torch.tensor(array, dtype=network.dtype, device=network.device) for array in arrays]
            for arrays in parts
        )
        rows = iter(make_tokens(network, views, crops, locals_, scenes))
    else:
        rows = (view.tokens_KD for view in encode_views(network, views))
    return [tuple(next(rows) for _ in region.views) for region in regions]


def lay_out(
    tokenizer: PromptTokenizer, regions: Sequence[RegionRows], conversations: Sequence[Conversation]
) -> Layout:
    """Write all conversations about the same regions into one sequence.

    Raises InputError for an answer that spells a special token.
    """
    written = [_write(tokenizer, regions, conversation) for conversation in conversations]
    columns = zip(*(ids for ids, _ in written), strict=False)
    num_shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    # What is shared holds the regions and nothing that is learnt.
    num_shared = min([num_shared, *(learnt.index(True) for _, learnt in written)])
    last_place = max((n for n, token in enumerate(written[0][0]) if token == PLACEHOLDER), default=-1)
    assert num_shared > last_place, "conversations about the same regions begin alike"
    ids = list(written[0][0][:num_shared])
    part, position, learnt = [SHARED] * num_shared, list(range(num_shared)), [False] * num_shared
    for number, (own_ids, own_learnt) in enumerate(written, start=1):
        ids += own_ids[num_shared:]
        learnt += own_learnt[num_shared:]
        part += [number] * (len(own_ids) - num_shared)
        position += range(num_shared, len(own_ids))
    rows = torch.cat([row for region in regions for row in region.rows])
    return Layout(Prompt(tuple(ids), rows), tuple(part), tuple(position), tuple(learnt))


def score_layouts(network: PixelRefer, layouts: Sequence[Layout]) -> Tensor:
    """Cross-entropy of every learnt token of all layouts, one after another: (answers' tokens,)."""
    embedded_BTD = embed_prompts(network, [layout.prompt for layout in layouts])
    longest = embedded_BTD.shape[1]
    if longest > network.config.max_positions:
        raise InputError(
            f"A sample takes {longest} tokens",
            expected=f"at most {network.config.max_positions}",
            do="give fewer frames or conversations",
        )
    device = network.device
    part_BT = torch.tensor(
        [[*layout.part, *[-1] * (longest - len(layout.part))] for layout in layouts], device=device
    )
    position_BT = torch.tensor(
        [[*layout.position, *[0] * (longest - len(layout.part))] for layout in layouts], device=device
    )
    seen_BTS = (part_BT[:, :, None] == part_BT[:, None]) | (part_BT[:, None] == SHARED)
    seen_BTS &= torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
    hidden_BTD = network.decode(embedded_BTD, position_BT, seen_BTS=seen_BTS)
    row_N, before_N, target_N = _find_targets(layouts, device)
    logits_NV = network.score_words(hidden_BTD[row_N, before_N])
    return F.cross_entropy(logits_NV.float(), target_N, reduction="none")


def _find_targets(layouts: Sequence[Layout], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of every learnt token: its row, the place of the token before it in its conversation, and its id."""
    found = []
    for row, layout in enumerate(layouts):
        num_shared = layout.part.count(SHARED)
        for place, (token, is_learnt) in enumerate(zip(layout.prompt.token_ids, layout.learnt, strict=True)):
            if is_learnt:
                is_first = layout.part[place - 1] != layout.part[place]
                found.append((row, num_shared - 1 if is_first else place - 1, token))
    rows, before, targets = torch.tensor(found, device=device).T
    return rows, before, targets


def _write(
    tokenizer: PromptTokenizer, regions: Sequence[RegionRows], conversation: Conversation
) -> tuple[list[int], list[bool]]:
    """One conversation's ids, PLACEHOLDER for objects, and which of them are answers."""
    ids: list[int] = []
    learnt: list[bool] = []
    waiting = list(regions)
    for exchange in conversation:
        tokenizer.check_words(exchange.answer)
        own = [waiting.pop(0) for _ in range(min(exchange.prompt.count(REGION), len(waiting)))]
        prompt_ids = build_prompt(tokenizer, exchange.prompt, own).token_ids
        opening = [*(tokenizer.encode("\n") if ids else []), *prompt_ids]
        answer = [*tokenizer.encode(exchange.answer), tokenizer.turn_end_id]
        ids += opening + answer
        learnt += [False] * len(opening) + [True] * len(answer)
    if waiting:
        raise InputError(
            f"A conversation names {len(regions) - len(waiting)} of {len(regions)} regions",
            expected=f"one {REGION} for each region",
            do="correct its prompts",
        )
    return ids, learnt
