"""A network that knows what it does: it takes for an object whatever has the colour that it was shown.

It stands behind the same interface as SAM 2, so discovery and tracking can be tested on films with known
truth before any weights are trained. Its memory is a colour; a mask is every pixel near it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from tubelet.model.tracking.sam2.network import DecodedMasks, ImageFeatures, LearnedVectors, NetworkShape

NUM_CHANNELS = 4  # a colour, and whether it is one
NEAR = 1.3  # in the units of normalised pixels: over half of the way from any thing to the ground
MIN_CELLS = 4


class ColourNetwork:
    def __init__(self, image_px: int = 256) -> None:
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.num_images = 0
        self._regions: list[tuple[Tensor, Tensor]] = []  # of the current image, with their logits
        self._side = image_px // 16
        self.shape = NetworkShape(
            image_px=image_px,
            num_spatial_memories=6,
            num_pointers=15,
            max_conditioning=-1,
            multimask_points=range(2),
            multimask_when_following=True,
            memory_mask_scale=20.0,
            memory_mask_bias=-10.0,
            mask_prompts="transformers",
        )
        self.learned = LearnedVectors(
            no_memory_C=torch.zeros(NUM_CHANNELS),
            no_pointer_C=torch.zeros(NUM_CHANNELS),
            occlusion_M=None,
            memory_age_LM=torch.zeros(7, NUM_CHANNELS),
        )

    def encode_image(self, pixels_13SS: Tensor) -> ImageFeatures:
        self.num_images += 1
        self._regions = []
        fine = pixels_13SS[:, :, 2::4, 2::4]
        blank = torch.zeros(1, NUM_CHANNELS, self._side, self._side)
        return ImageFeatures(fine, pixels_13SS, blank, blank)

    def attend_memory(
        self, features: ImageFeatures, memory_BTM: Tensor, position_BTM: Tensor, num_pointer_tokens: int
    ) -> Tensor:
        colours_BM = memory_BTM[:, 0]
        return colours_BM[:, :, None, None].expand(-1, -1, self._side, self._side)

    def decode_masks(
        self,
        features: ImageFeatures,
        coarse_BCHW: Tensor,
        points_BP2: Tensor,
        labels_BP: Tensor,
        masks_B1hw: Tensor | None,
        *,
        multimask: bool,
    ) -> DecodedMasks:
        logits = []
        for coarse_CHW, points_P2, labels_P in zip(coarse_BCHW, points_BP2, labels_BP, strict=True):
            if labels_P[0] < 0:
                logits.append(self._find(features.fine[0], coarse_CHW[:3, 0, 0], coarse_CHW[3, 0, 0]))
            else:
                logits.append(self._cut_out(features.fine[0], points_P2.mean(0) / 4))
        num_masks = 3 if multimask else 1
        logits_Bhw = torch.stack(logits)
        presence_B = torch.where((logits_Bhw > 0).sum((1, 2)) >= MIN_CELLS, 6.0, -6.0)
        iou_K = torch.tensor([0.95, 0.9, 0.85])[:num_masks]
        return DecodedMasks(
            logits_Bhw[:, None].expand(-1, num_masks, -1, -1),
            iou_K.expand(len(logits), -1),
            torch.zeros(len(logits), num_masks, NUM_CHANNELS),
            presence_B,
        )

    def encode_memory(self, features: ImageFeatures, masks_B1SS: Tensor) -> Tensor:
        masks_BSS = masks_B1SS[:, 0] > 0
        colours = [
            torch.cat([features.middle[0][:, mask].median(1).values, torch.ones(1)])
            if mask.any()
            else torch.zeros(4)
            for mask in masks_BSS
        ]
        return torch.stack(colours)[:, None].expand(-1, self._side**2, -1)

    def locate_memory(self) -> Tensor:
        return torch.zeros(self._side**2, NUM_CHANNELS)

    def project_pointer(self, tokens_BC: Tensor) -> Tensor:
        return tokens_BC

    def project_age(self, code_LC: Tensor) -> Tensor:
        return torch.zeros(len(code_LC), NUM_CHANNELS)

    def shrink_mask(self, masks_B1SS: Tensor) -> Tensor:
        return F.avg_pool2d(masks_B1SS, 4)

    def _find(self, fine_3hw: Tensor, colour_3: Tensor, is_known: Tensor) -> Tensor:
        distance_hw = (fine_3hw - colour_3[:, None, None]).norm(dim=0)
        return torch.where(is_known > 0, 20 * (NEAR - distance_hw), -20.0)

    def _cut_out(self, fine_3hw: Tensor, place_2: Tensor) -> Tensor:
        """The connected region of the colour at a place (x, y) of the mask grid."""
        column, row = (int(at) for at in place_2)
        for region_hw, logits_hw in self._regions:
            if region_hw[row, column]:
                return logits_hw
        logits_hw = self._find(fine_3hw, fine_3hw[:, row, column], torch.ones(()))
        regions, _ = ndimage.label((logits_hw > 0).numpy())
        region_hw = torch.from_numpy(regions == regions[row, column])
        logits_hw = torch.where(region_hw, logits_hw, -20.0)
        self._regions.append((region_hw, logits_hw))
        return logits_hw
