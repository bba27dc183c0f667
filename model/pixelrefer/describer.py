"""PixelRefer behind the captioner seam: the pipeline's views in, sentences out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tubelet.model.describing.base import DescribeRequest, Description, ObjectView
from tubelet.model.pixelrefer.captioner import PixelReferCaptioner, RegionRequest, phrase_question
from tubelet.model.pixelrefer.prompts import DESCRIBE_VIDEO
from tubelet.model.pixelrefer.regions import Region, RegionView


class PixelReferDescriber:
    """Adapts a captioner to the seam: crops become views of a part of their frame.

    Where a view does not know its frame's size, its crop stands for the frame: the object's place is then
    told relative to the crop.
    """

    answers_questions = True

    def __init__(self, captioner: PixelReferCaptioner) -> None:
        self._captioner = captioner

    @property
    def name(self) -> str:
        return self._captioner.name

    @property
    def object_dimensions(self) -> int:
        return self._captioner.num_dimensions

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        """One description for each request, in order. Raises InputError for a request without views."""
        answers = self._captioner.describe([_convert(request) for request in requests])
        return [
            Description(answer.text, min(answer.confidence, 1.0), answer.object_vectors[0])
            for answer in answers
        ]


def make_lite_2b() -> PixelReferDescriber:
    """PixelRefer-Lite-2B as pulled before, on a GPU in bfloat16 where there is one, else in float32."""
    return load_describer("PixelRefer-Lite-2B")


def make_lite_7b() -> PixelReferDescriber:
    """PixelRefer-Lite-7B as pulled before, on a GPU in bfloat16 where there is one, else in float32."""
    return load_describer("PixelRefer-Lite-7B")


def load_describer(name_or_folder: str) -> PixelReferDescriber:
    """Any checkpoint, by name or folder, on a GPU in bfloat16 where there is one, else in float32."""
    has_gpu = torch.cuda.is_available()
    captioner = PixelReferCaptioner.load(
        name_or_folder,
        device="cuda" if has_gpu else "cpu",
        dtype=torch.bfloat16 if has_gpu else torch.float32,
    )
    return PixelReferDescriber(captioner)


def _convert(request: DescribeRequest) -> RegionRequest:
    region = Region(tuple(_convert_view(view) for view in request.views))
    if request.question is None:
        return RegionRequest((region,), DESCRIBE_VIDEO)
    return RegionRequest((region,), phrase_question(region, request.question))


def _convert_view(view: ObjectView) -> RegionView:
    return RegionView(
        image=view.image,
        mask=view.mask,
        time_s=view.time_s,
        window=None if view.frame_size is None else view.crop,
        frame_size=view.frame_size,
        scene=view.scene,
    )
