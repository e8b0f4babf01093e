"""f_enc: a torchvision ResNet whose last stages keep their resolution (DeepLabv3), and its weights."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from segmix_core.errors import InputError
from segmix_core.experiments import nearest
from segmix_core.models.tensors import is_plain, read_tensors

_LAYERS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], list[int], int]] = {
    "resnet18w32": (BasicBlock, [2, 2, 2, 2], 32),  # half as wide: 2.8 million parameters, for small scales
    "resnet18": (BasicBlock, [2, 2, 2, 2], 64),
    "resnet34": (BasicBlock, [3, 4, 6, 3], 64),
    "resnet50": (Bottleneck, [3, 4, 6, 3], 64),
    "resnet101": (Bottleneck, [3, 4, 23, 3], 64),
}
BACKBONES = tuple(_LAYERS)


class _ResNet(ResNet):  # type: ignore[misc]  # torchvision has no types
    """torchvision's ResNet with a choice of width, which it fixes at 64."""

    def __init__(self, block: type[nn.Module], layers: list[int], width: int) -> None:
        self.width = width
        super().__init__(block, layers, num_classes=1)
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(width)

    def _make_layer(self, block: type[nn.Module], planes: int, *args: object, **kwargs: object) -> nn.Module:
        if planes == 64:
            self.inplanes = self.width
        layer: nn.Module = super()._make_layer(block, planes * self.width // 64, *args, **kwargs)
        return layer


def _dilate(layer: nn.Module, dilation: int) -> None:
    """Trade the stride of a ResNet stage for dilation, as torchvision does for its bottleneck networks.

    The convolution that had the stride keeps half of the new dilation: its input is twice as fine as before.
    """
    for module in layer.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        strided = module.stride == (2, 2)
        module.stride = (1, 1)
        if module.kernel_size == (3, 3):
            rate = dilation // 2 if strided else dilation
            module.dilation = module.padding = (rate, rate)


class Encoder(nn.Module):
    """Images (B, 3, H, W) in 0..1 -> features of res5c (B, `channels`, H / stride, W / stride).

    Normalises inside with ImageNet's mean and standard deviation. Attribute names are torchvision's, so its
    weights load unchanged.

    Raises:
        InputError: unknown backbone.
        ValueError: output stride other than 8, 16 or 32 (32: no dilation, for classification).
    """

    def __init__(self, backbone: str, *, output_stride: int = 16) -> None:
        super().__init__()
        if backbone not in _LAYERS:
            raise nearest("backbone", backbone, _LAYERS)
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output stride {output_stride} is not one of 8, 16, 32")
        block, layers, width = _LAYERS[backbone]
        network = _ResNet(block, layers, width)
        if output_stride <= 16:
            _dilate(network.layer4, 32 // output_stride)
        if output_stride == 8:
            _dilate(network.layer3, 2)
        self.channels: int = 8 * width * block.expansion
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(network, name))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Features of the last block."""
        features = (image_BCHW - self.mean) / self.std
        for module in self.children():
            features = module(features)
        return features


def load_encoder(encoder: Encoder, backbone: str, source: str | Path) -> None:
    """Load weights into `encoder`: "imagenet" (torchvision's, downloaded), or a .safetensors or .pth file.

    Strict: every tensor must be there with its shape; only a classifier (`fc.*`) is passed over. Nothing
    in the file is ever run.

    Raises:
        InputError: no such weights, or weights of another network.
    """
    state = _imagenet(backbone) if source == "imagenet" else _read_tensors(Path(source))
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    try:
        encoder.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(
            source, f"weights do not fit {backbone} ({first})", "name weights of this backbone"
        ) from error


def _imagenet(backbone: str) -> Mapping[str, Tensor]:
    try:
        weights = torchvision.models.get_model_weights(backbone).IMAGENET1K_V1
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except ValueError as error:
        raise InputError(
            f"backbone {backbone}", "has no ImageNet weights", "choose resnet50 or another"
        ) from error
    except OSError as error:
        raise InputError(
            f"ImageNet weights of {backbone}",
            f"cannot be downloaded ({error})",
            "name a local file of torchvision's weights, or run where there is a network",
        ) from error
    return state


def _read_tensors(path: Path) -> Mapping[str, Tensor]:
    advice = "name a .safetensors file, or a .pth file of plain tensors"
    if not path.is_file():
        raise InputError(path, "no such weights file", advice)
    try:
        state = load_file(path) if path.suffix == ".safetensors" else read_tensors(path)
    except pickle.UnpicklingError as error:
        raise InputError(path, "not a file of plain tensors; anything else could run code", advice) from error
    except Exception as error:  # torch and safetensors raise a dozen kinds for a file that is cut or damaged
        raise InputError(path, "not a readable weights file", advice) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InputError(path, "does not hold a dictionary of tensors", advice)
    for name, value in state.items():
        if not is_plain(value) or not torch.isfinite(value.float()).all():
            raise InputError(path, f"tensor {name} holds values that are not finite numbers", advice)
    return state
