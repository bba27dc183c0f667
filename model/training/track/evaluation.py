"""How well a SAM 2 in training does on clips it is never trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tubelet.model.training.track.clips import ClipSource
from tubelet.model.training.track.samples import SampleSettings, TrackBatch, TrackBatches
from tubelet.model.training.track.unroll import FrameAnswer, TrackTraining

_HELD_OUT_SEED = 771


class EvaluationSettings(BaseModel):
    """How many held-out samples are looked at; clips only where `num_clips` is not 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_pictures: int = Field(default=48, ge=1)
    num_clips: int = Field(default=0, ge=0)
    num_frames: int = Field(default=8, ge=2, le=8)
    """Of each clip."""


@dataclass(frozen=True, slots=True)
class TrackEvaluation:
    """Measures on held-out samples of one size; the samples are the same at every call.

    "box iou" and "point iou" are the mean IoU of the mask that the engine would give for such a prompt on a
    picture; "refused" is the share of points beside all objects that are answered by "nothing there" or a
    predicted IoU below one half; "rough iou" is as "box iou" for masks that are to be set right; "clip j" is
    the mean IoU over the later frames of clips whose first mask is given, 1 where an object is rightly out of
    sight. "score" is the mean of box and point IoU or, where there are clips, of box IoU and clip J.
    """

    source: ClipSource
    samples: SampleSettings
    settings: EvaluationSettings

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        assert isinstance(model, TrackTraining)
        boxes: list[Tensor] = []
        points: list[Tensor] = []
        roughs: list[Tensor] = []
        refused: list[Tensor] = []
        guesses: list[Tensor] = []
        for batch in self._make_pictures():
            target_BSS = torch.from_numpy(batch.first_masks_BSS).to(model.network.device)
            for group, answer in zip(batch.groups, model.unroll(batch)[0], strict=True):
                iou_R = _measure(answer.settled_R1SS[:, 0] > 0, target_BSS[answer.rows_R])
                is_there_R = target_BSS[answer.rows_R].any(2).any(1)
                guess_R = _guess(answer)
                guesses.append((guess_R - iou_R)[is_there_R].abs())
                {"box": boxes, "rough": roughs}.get(group.kind, points).append(iou_R[is_there_R])
                refused.append((guess_R < 0.5)[~is_there_R])
        values = {
            "box iou": _mean(boxes),
            "point iou": _mean(points),
            "refused": _mean(refused),
            "guess error": _mean(guesses),
        }
        scored = [values["box iou"], values["point iou"]]
        if roughs:
            values["rough iou"] = _mean(roughs)
            scored = [values["box iou"], values["point iou"], values["rough iou"]]
        if self.settings.num_clips:
            values["clip j"] = self._follow(model)
            scored = [values["box iou"], values["clip j"]]
        return {**values, "score": sum(scored) / len(scored)}

    def _follow(self, model: TrackTraining) -> float:
        found = []
        for batch in self._make_clips():
            targets_TBGG = torch.from_numpy(batch.targets_TBGG).to(model.network.device)
            answers = model.unroll(batch)
            for target_BGG, (answer,) in zip(targets_TBGG[1:], answers[1:], strict=True):
                logits = F.interpolate(
                    answer.settled_R1hw.float(), size=target_BGG.shape[1:], mode="bilinear"
                )
                found.append(_measure(logits[:, 0] > 0, target_BGG >= 128))
        return _mean(found)

    def _make_pictures(self) -> list[TrackBatch]:
        per_batch = min(8, self.settings.num_pictures)
        samples = self.samples.model_copy(
            update={
                "num_frames": 1,
                "clips_per_batch": per_batch,
                "crops_per_clip": 1,
                "prompts": {"box": 1.0, "point": 1.0}
                | ({"rough": 1.0} if "rough" in self.samples.prompts else {}),
                "jitter": 0.0,
            }
        )
        make = TrackBatches(self.source, samples, _HELD_OUT_SEED)
        return [make(number) for number in range(self.settings.num_pictures // per_batch)]

    def _make_clips(self) -> list[TrackBatch]:
        samples = self.samples.model_copy(
            update={
                "num_frames": self.settings.num_frames,
                "clips_per_batch": 1,
                "crops_per_clip": 1,
                "prompts": {"mask": 1.0},
            }
        )
        make = TrackBatches(self.source, samples, _HELD_OUT_SEED)
        return [make(number) for number in range(self.settings.num_clips)]


def _guess(answer: FrameAnswer) -> Tensor:
    """What the engine would report as a mask's score: predicted IoU, times that it is in sight."""
    return answer.decoded.iou_BK.amax(1) * answer.presence_R.sigmoid()


def _measure(found_RSS: Tensor, true_RSS: Tensor) -> Tensor:
    """IoU of each mask with its truth; 1 where both are empty."""
    shared_R = (found_RSS & true_RSS).sum((1, 2)).float()
    union_R = (found_RSS | true_RSS).sum((1, 2)).float()
    return torch.where(union_R > 0, shared_R / union_R.clamp(min=1), 1.0)


def _mean(parts: list[Tensor]) -> float:
    values = torch.cat(parts) if parts else torch.zeros(0)
    return float(values.float().mean()) if len(values) else 0.0
