"""Stage 0, for decoders that start from nothing: how things move, before any words.

As the vision encoder learns from crops through heads that are thrown away, so does the decoder from paths.
At every view a head tells the direction of the last step and how far it has bent from the first one; at the
last view another tells the turn. Asked for turns in words alone, a decoder stayed at chance where one that is
guided so told four in five (docs/training-describe.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tubelet.model.pixelrefer.network import PixelRefer, RegionEncoder
from tubelet.model.training.describe.path_batches import PathBatch, PathSample, join_views
from tubelet.records import Turn

PLACE_STD = 4.0
"""Of `pos_linear`'s weights at first: a step of a path must not drown in how the object looks."""

GUIDE_WEIGHT = 0.5
"""Weight of the losses of steps and bends, beside that of the turn."""

MIN_STEP = 0.004
"""A shorter step, in widths of the frame, has no direction that could be told."""

FIRST_VIEW = 16
WORDS_A_VIEW = 5
"""Where a prompt has the first view, and how many tokens of its time stand before each next one."""

TURNS: tuple[Turn, ...] = get_args(Turn)


class MotionModel(nn.Module):
    """A network's region encoder and decoder under three linear heads: `forward(batch)` gives the losses."""

    def __init__(self, network: PixelRefer) -> None:
        super().__init__()
        self.network = network
        width = network.config.width
        self.heads = nn.ModuleDict(
            {"turn": nn.Linear(width, len(TURNS)), "step": nn.Linear(width, 2), "bend": nn.Linear(width, 2)}
        )

    def forward(self, batch: PathBatch) -> dict[str, Tensor]:
        """The turn's cross-entropy, the squared errors of steps and bends, and what is minimised."""
        samples = batch.samples
        seen_BTD, inside_BT = self._watch(samples)
        turns_B = torch.tensor([TURNS.index(sample.turn) for sample in samples], device=seen_BTD.device)
        step_BT2, bend_BT2, told_BT = self._guide(samples, inside_BT)
        turn = F.cross_entropy(self._judge(seen_BTD, inside_BT), turns_B)
        step = (self.heads["step"](seen_BTD[:, 1:]).float() - step_BT2)[told_BT].square().sum(dim=-1).mean()
        bend = (self.heads["bend"](seen_BTD[:, 1:]).float() - bend_BT2)[told_BT].square().sum(dim=-1).mean()
        loss = turn + GUIDE_WEIGHT * (step + bend)
        return {"loss": loss, "turn": turn.detach(), "step": step.detach(), "bend": bend.detach()}

    @torch.no_grad()
    def judge(self, samples: Sequence[PathSample]) -> list[Turn]:
        """The likeliest turn of each sample."""
        logits_BC = self._judge(*self._watch(samples))
        return [TURNS[at] for at in logits_BC.argmax(dim=1).tolist()]

    def _watch(self, samples: Sequence[PathSample]) -> tuple[Tensor, Tensor]:
        """The decoder's states at the views, (B, T, D), and which of them are views."""
        views = torch.split(join_views(self.network, samples), [len(sample.times_s) for sample in samples])
        embedded_BTD = nn.utils.rnn.pad_sequence(list(views), batch_first=True)
        num_samples, longest = embedded_BTD.shape[:2]
        place_T = torch.arange(longest, device=embedded_BTD.device)
        lengths_B = torch.tensor([len(own) for own in views], device=embedded_BTD.device)
        inside_BT = place_T < lengths_B[:, None]
        stride = WORDS_A_VIEW + self.network.config.num_object_tokens
        position_BT = (FIRST_VIEW + stride * place_T).expand(num_samples, -1)
        seen_TS = torch.ones(longest, longest, dtype=torch.bool, device=embedded_BTD.device).tril()
        seen_BTS = seen_TS.expand(num_samples, -1, -1)
        return self.network.decode(embedded_BTD, position_BT, seen_BTS=seen_BTS), inside_BT

    def _judge(self, seen_BTD: Tensor, inside_BT: Tensor) -> Tensor:
        last_B = inside_BT.sum(dim=1) - 1
        logits: Tensor = self.heads["turn"](seen_BTD[torch.arange(len(last_B)), last_B])
        return logits.float()

    def _guide(self, samples: Sequence[PathSample], inside_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Direction of each step, its angle to the first one (cosine, sine), and where there is one."""
        places = [
            torch.from_numpy(sample.places_N2) * torch.tensor([1.0, sample.aspect]) for sample in samples
        ]
        places_BT2 = nn.utils.rnn.pad_sequence(places, batch_first=True).to(inside_BT.device)
        steps_BT2 = places_BT2.diff(dim=1)
        lengths_BT1 = steps_BT2.norm(dim=-1, keepdim=True)
        directions_BT2 = steps_BT2 / lengths_BT1.clamp(min=1e-6)
        told_BT = (lengths_BT1[..., 0] > MIN_STEP) & inside_BT[:, 1:]
        first_B = told_BT.float().argmax(dim=1)
        first_B12 = directions_BT2[torch.arange(len(first_B)), first_B][:, None]
        cosine_BT = (directions_BT2 * first_B12).sum(dim=-1)
        sine_BT = directions_BT2[..., 0] * first_B12[..., 1] - directions_BT2[..., 1] * first_B12[..., 0]
        return directions_BT2, torch.stack([cosine_BT, sine_BT], dim=-1), told_BT


@torch.no_grad()
def begin_with_places(encoder: RegionEncoder, seed: int) -> None:
    """Weights of the region encoder to learn motion with: places loud, surroundings silent at first."""
    generator = torch.Generator().manual_seed(seed)
    weight = encoder.pos_linear.weight
    weight.copy_(torch.randn(weight.shape, generator=generator) * PLACE_STD)
    encoder.pos_linear.bias.copy_(-0.5 * weight.sum(dim=1))  # the middle of the frame is 0
    for layer in encoder.feat_linear:
        if isinstance(layer, nn.Linear):
            spread = 1 / math.sqrt(layer.in_features)
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * spread)
            layer.bias.zero_()
    for attention in (encoder.fusion_attention_local, encoder.fusion_attention_global):
        attention.out_proj.weight.zero_()
        attention.out_proj.bias.zero_()
