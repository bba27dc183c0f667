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


class MotionHeads(nn.Module):
    """Three heads over a decoder's states at the views, not of its last layer: the words' layers come after.

    A guided layer has told where the object goes when the last layer looks back for what to say.
    """

    def __init__(self, network: PixelRefer) -> None:
        super().__init__()
        width = network.config.width
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleDict(
            {"turn": nn.Linear(width, len(TURNS)), "step": nn.Linear(width, 2), "bend": nn.Linear(width, 2)}
        )
        self._kept: list[Tensor] = []
        layers = network.decoder.layers
        layers[max(1, len(layers) - 1) - 1].register_forward_hook(self._keep)

    def take_states(self) -> Tensor:
        """What the guided layer gave since it was asked last, (B, T, D)."""
        (states_BTD,) = self._kept
        self._kept.clear()
        return states_BTD

    def forward(
        self, states_BVD: Tensor, inside_BV: Tensor, samples: Sequence[PathSample]
    ) -> dict[str, Tensor]:
        """The turn's cross-entropy, squared errors of steps and bends, and their weighted sum "motion"."""
        states_BVD = self.norm(states_BVD)
        turns_B = torch.tensor([TURNS.index(sample.turn) for sample in samples], device=states_BVD.device)
        step_BV2, bend_BV2, told_BV = guide(samples, inside_BV)
        turn = F.cross_entropy(self._judge(states_BVD, inside_BV), turns_B)
        step = (self.heads["step"](states_BVD[:, 1:]).float() - step_BV2)[told_BV].square().sum(dim=-1).mean()
        bend = (self.heads["bend"](states_BVD[:, 1:]).float() - bend_BV2)[told_BV].square().sum(dim=-1).mean()
        return {"turn": turn, "step": step, "bend": bend, "motion": turn + GUIDE_WEIGHT * (step + bend)}

    def judge(self, states_BVD: Tensor, inside_BV: Tensor) -> list[Turn]:
        """The likeliest turn of each sample."""
        logits_BC = self._judge(self.norm(states_BVD), inside_BV)
        return [TURNS[at] for at in logits_BC.argmax(dim=1).tolist()]

    def _judge(self, states_BVD: Tensor, inside_BV: Tensor) -> Tensor:
        last_B = inside_BV.sum(dim=1) - 1
        logits: Tensor = self.heads["turn"](states_BVD[torch.arange(len(last_B)), last_B])
        return logits.float()

    def _keep(self, layer: nn.Module, given: object, states_BTD: Tensor) -> None:
        self._kept[:] = [states_BTD]


def guide(samples: Sequence[PathSample], inside_BV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Direction of each step, its angle to the first one (cosine, sine), and where there is one."""
    places = [torch.from_numpy(sample.places_N2) * torch.tensor([1.0, sample.aspect]) for sample in samples]
    places_BV2 = nn.utils.rnn.pad_sequence(places, batch_first=True).to(inside_BV.device)
    steps_BV2 = places_BV2.diff(dim=1)
    lengths_BV1 = steps_BV2.norm(dim=-1, keepdim=True)
    directions_BV2 = steps_BV2 / lengths_BV1.clamp(min=1e-6)
    told_BV = (lengths_BV1[..., 0] > MIN_STEP) & inside_BV[:, 1:]
    first_B = told_BV.float().argmax(dim=1)
    first_B12 = directions_BV2[torch.arange(len(first_B)), first_B][:, None]
    cosine_BV = (directions_BV2 * first_B12).sum(dim=-1)
    sine_BV = directions_BV2[..., 0] * first_B12[..., 1] - directions_BV2[..., 1] * first_B12[..., 0]
    return directions_BV2, torch.stack([cosine_BV, sine_BV], dim=-1), told_BV


class MotionModel(nn.Module):
    """A network's region encoder and decoder under `MotionHeads`: `forward(batch)` gives the losses."""

    def __init__(self, network: PixelRefer) -> None:
        super().__init__()
        self.network = network
        self.heads = MotionHeads(network)

    def forward(self, batch: PathBatch) -> dict[str, Tensor]:
        """The heads' losses; what is minimised is their weighted sum."""
        losses = self.heads(*self._watch(batch.samples), batch.samples)
        return {"loss": losses.pop("motion"), **{name: loss.detach() for name, loss in losses.items()}}

    @torch.no_grad()
    def judge(self, samples: Sequence[PathSample]) -> list[Turn]:
        """The likeliest turn of each sample."""
        return self.heads.judge(*self._watch(samples))

    def _watch(self, samples: Sequence[PathSample]) -> tuple[Tensor, Tensor]:
        """The guided states at the views, (B, V, D), and which of them are views."""
        views = torch.split(join_views(self.network, samples), [len(sample.times_s) for sample in samples])
        embedded_BVD = nn.utils.rnn.pad_sequence(list(views), batch_first=True)
        num_samples, longest = embedded_BVD.shape[:2]
        place_V = torch.arange(longest, device=embedded_BVD.device)
        lengths_B = torch.tensor([len(own) for own in views], device=embedded_BVD.device)
        stride = WORDS_A_VIEW + self.network.config.num_object_tokens
        position_BV = (FIRST_VIEW + stride * place_V).expand(num_samples, -1)
        seen_VV = torch.ones(longest, longest, dtype=torch.bool, device=embedded_BVD.device).tril()
        self.network.decode(embedded_BVD, position_BV, seen_BTS=seen_VV.expand(num_samples, -1, -1))
        return self.heads.take_states(), place_V < lengths_B[:, None]


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
