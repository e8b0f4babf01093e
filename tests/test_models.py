"""The network against torchvision, and what sets one head apart from another."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import save_file

from segmix_core.errors import InputError
from segmix_core.experiments import METHODS, SCALES
from segmix_core.files import file_digest
from segmix_core.models import Encoder, SourceSeparation, autocast, load_encoder, native
from segmix_core.models.separation import upsample
from segmix_core.request import WEIGHTS, Request, precision_of, weights_of

SMALL = {"backbone": "resnet18w32", "aspp_channels": 16, "aspp_rates": (2, 4, 6), "output_stride": 8}


def image(size: int = 64, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("stride", "dilated"), [(8, [False, True, True]), (16, [False, False, True])])
def test_dilated_encoder_is_torchvisions(stride: int, dilated: list[bool]) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.resnet50(replace_stride_with_dilation=dilated).eval()
    encoder = Encoder("resnet50", output_stride=stride).eval()
    published = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    assert encoder.mean.flatten().tolist() == pytest.approx(published.mean)
    assert encoder.std.flatten().tolist() == pytest.approx(published.std)
    state = {name: value for name, value in reference.state_dict().items() if not name.startswith("fc.")}
    encoder.load_state_dict(state, strict=True)
    getter = torchvision.models._utils.IntermediateLayerGetter(reference, {"layer4": "out"})
    with torch.inference_mode():
        expected = getter((image() - encoder.mean) / encoder.std)["out"]
        torch.testing.assert_close(encoder(image()), expected)


@pytest.mark.parametrize("backbone", ["resnet18w32", "resnet18", "resnet34"])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_basic_encoders_keep_the_resolution_they_are_asked_for(backbone: str, stride: int) -> None:
    encoder = Encoder(backbone, output_stride=stride).eval()
    with torch.inference_mode():
        assert encoder(image()).shape == (2, encoder.channels, 64 // stride, 64 // stride)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_encoders_have_the_tensors_of_torchvisions_networks(backbone: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(backbone).state_dict()
        ours = Encoder(backbone).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items() if not name.startswith("fc.")
    }


@pytest.mark.parametrize(("backbone", "width"), [("resnet18w32", 32), ("resnet18", 64)])
def test_the_first_convolution_starts_as_torchvisions(backbone: str, width: int) -> None:
    torch.manual_seed(0)
    weight = Encoder(backbone).conv1.weight
    assert weight.shape == (width, 3, 7, 7)
    assert weight.std().item() == pytest.approx((2 / (width * 49)) ** 0.5, rel=0.05)


def test_the_plain_head_is_torchvisions_deeplabv3() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=5
    ).eval()
    model = SourceSeparation(5, head="plain", output_stride=8).eval()
    places = {"classifier.0.": "pyramids.0.", "backbone.": "encoder."}
    places |= {f"classifier.{number}.": f"classifiers.0.{number - 1}." for number in (1, 2, 4)}
    state = {
        next(name.replace(old, new, 1) for old, new in places.items() if name.startswith(old)): tensor
        for name, tensor in reference.state_dict().items()
    }
    model.load_state_dict(state, strict=True)
    with torch.inference_mode():
        expected = reference((image() - model.encoder.mean) / model.encoder.std)["out"]
        torch.testing.assert_close(model(image()).dominant, expected)


@pytest.mark.parametrize(("stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_the_rates_of_the_pyramids_are_deeplabv3s(stride: int, rates: list[int]) -> None:
    model = SourceSeparation(5, backbone="resnet18w32", output_stride=stride, aspp_channels=8)
    for pyramid in model.pyramids:
        convolutions = [module for module in pyramid.modules() if isinstance(module, torch.nn.Conv2d)]
        assert [one.dilation[0] for one in convolutions if one.kernel_size == (3, 3)] == rates
    assert model.architecture["aspp_rates"] == rates


def test_each_head_has_its_outputs_at_input_size() -> None:
    heads = {"plain": (1, 0, 0), "no_ssh": (1, 1, 0), "full": (1, 1, 1), "full_relu": (1, 1, 1)}
    for head, present in heads.items():
        separation = SourceSeparation(5, head=head, **SMALL).eval()(image())
        outputs = (separation.dominant, separation.phantom, separation.final)
        assert tuple(output is not None for output in outputs) == tuple(map(bool, present))
        assert all(output.shape == (2, 5, 64, 64) for output in outputs if output is not None)


def test_the_joining_head_reads_both_branches() -> None:
    model = SourceSeparation(5, head="full", **SMALL).eval()
    before = model(image())
    with torch.no_grad():
        model.classifiers[1][-1].bias += 3.0
    after = model(image())
    torch.testing.assert_close(before.dominant, after.dominant)
    torch.testing.assert_close(before.phantom + 3.0, after.phantom, rtol=1e-4, atol=1e-4)
    assert (before.final - after.final).abs().max() > 1e-3


def test_the_joining_head_is_equation_3() -> None:
    """R11: two 1x1 convolutions over both branches' logits, dominant first, a ReLU between."""
    model = SourceSeparation(5, head="full", **SMALL).eval()
    separation = model(image())
    features = model.encoder(image())
    branches = [model.classifiers[branch](model.pyramids[branch](features)) for branch in (0, 1)]
    (first, first_bias, second, second_bias) = (parameter.flatten(1) if parameter.ndim > 1 else parameter
                                                for parameter in model.joiner.parameters())  # fmt: skip
    both_BHWN = torch.cat(branches, dim=1).movedim(1, -1)
    joined_BHWN = (both_BHWN @ first.T + first_bias).clamp(min=0) @ second.T + second_bias
    for found, score in zip(
        (separation.dominant, separation.phantom, separation.final),
        (*branches, joined_BHWN.movedim(-1, 1)),
        strict=True,
    ):
        upsampled = torch.nn.functional.interpolate(score, (64, 64), mode="bilinear")
        torch.testing.assert_close(found, upsampled, rtol=1e-4, atol=1e-5)


def test_the_joined_logits_train_both_branches_and_the_encoder() -> None:
    model = SourceSeparation(5, head="full", **SMALL)
    model(image()).final.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters() if parameter.ndim > 1)


def test_a_relu_on_the_joined_logits_is_the_one_difference_of_its_head() -> None:
    without, with_relu = (SourceSeparation(5, head=head, **SMALL).eval() for head in ("full", "full_relu"))
    with_relu.load_state_dict(without.state_dict())
    plain, clipped = without(image()), with_relu(image())
    torch.testing.assert_close(plain.dominant, clipped.dominant)
    assert plain.final.min() < 0
    assert clipped.final.min() >= 0
    assert clipped.final.max() > 0


def test_a_shared_pyramid_saves_its_twin() -> None:
    apart = sum(parameter.numel() for parameter in SourceSeparation(5, **SMALL).parameters())
    shared = SourceSeparation(5, shared_aspp=True, **SMALL)
    pyramid = sum(parameter.numel() for parameter in shared.pyramids.parameters())
    assert apart - sum(parameter.numel() for parameter in shared.parameters()) == pyramid


def test_normalisation_happens_inside() -> None:
    encoder = Encoder("resnet18w32").eval()
    grey = encoder.mean.expand(3, 64, 64)[None]
    seen = {}
    encoder.conv1.register_forward_pre_hook(lambda module, inputs: seen.update(image=inputs[0]))
    encoder(grey)
    assert seen["image"].abs().max() < 1e-6


def test_a_batch_of_one_trains() -> None:
    model = SourceSeparation(5, **SMALL).train()
    total = sum(output.sum() for output in model(image(batch=1)).outputs().values())
    total.backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("few", "many"), [((16, 16), (128, 128)), ((5, 7), (33, 50)), ((1, 1), (8, 8))])
def test_upsampling_is_the_librarys(few: tuple[int, int], many: tuple[int, int]) -> None:
    score = torch.randn(2, 3, *few, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(2, 3, *many, generator=torch.Generator().manual_seed(1))
    ours, theirs = (score.clone().requires_grad_() for _ in range(2))
    with autocast("cpu", "bf16"):  # scores are enlarged in float32 all the same
        found = upsample(ours.contiguous(memory_format=torch.channels_last), many)
    expected = torch.nn.functional.interpolate(theirs, many, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-4)
    with torch.inference_mode():
        assert torch.equal(upsample(score, many), found)
    assert upsample(score.to("meta"), many).shape == found.shape  # where operations are counted


def test_encoder_weights_load_strictly(tmp_path: Path) -> None:
    encoder = Encoder("resnet18w32")
    good, bad, other = (tmp_path / name for name in ("good.safetensors", "bad.safetensors", "other.txt"))
    state = {name: value.contiguous() for name, value in encoder.state_dict().items()}
    save_file(
        {name: value.half() if value.is_floating_point() else value for name, value in state.items()}, good
    )
    classified = tmp_path / "classified.pth"
    torch.save(state | {"fc.weight": torch.zeros(9, 256)}, classified)  # as torchvision's own files have
    assert SourceSeparation(5, pretrained=classified, **SMALL).encoder.conv1.weight.equal(
        encoder.conv1.weight
    )
    loaded = SourceSeparation(5, pretrained=good, **SMALL).encoder
    torch.testing.assert_close(loaded.conv1.weight, encoder.conv1.weight.half().float())
    save_file({name: value for name, value in state.items() if name != "conv1.weight"}, bad)
    other.write_text("no weights at all")
    spoilt = {}
    for name, value in (("complex", 1j), ("nan", float("nan"))):
        spoilt[name] = tmp_path / f"{name}.pth"
        torch.save(state | {"conv1.weight": encoder.conv1.weight.detach() * value}, spoilt[name])
    odd = {
        "sparse": torch.zeros(4, 3, 7, 7).to_sparse(),
        "spread": torch.zeros(1).expand(10**6, 10**5),
        "large": torch.full((32, 3, 7, 7), 1e300, dtype=torch.float64),
    }
    for name, tensor in odd.items():
        spoilt[name] = tmp_path / f"{name}.pth"
        torch.save(state | {"conv1.weight": tensor}, spoilt[name])
    (greeting := tmp_path / "greeting.pth").write_text("hello world")
    torch.save({1: torch.zeros(3)}, numbered := tmp_path / "numbered.pth")
    for path, message in (
        (spoilt["complex"], "tensor conv1.weight holds values that are not finite numbers"),
        (spoilt["nan"], "tensor conv1.weight holds values that are not finite numbers"),
        *((spoilt[name], "tensor conv1.weight holds values that are not finite numbers") for name in odd),
        (greeting, "not a readable weights file|plain tensors"),
        (numbered, "dictionary of tensors"),
        (bad, "conv1.weight"),
        (other, "plain tensors"),
        (tmp_path / "none.pth", "no such"),
    ):
        with pytest.raises(InputError, match=message):
            SourceSeparation(5, pretrained=path, **SMALL)
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        SourceSeparation(5, backbone="resnet5O")


def test_a_file_does_not_say_what_it_is(tmp_path: Path) -> None:
    """A header tells how weights were made; name and digest are of the file itself."""
    records = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        forged = {"name": "silhouettes-resnet18w32.safetensors", "sha256": "0" * 64, "epochs": "3"}
        save_file(Encoder("resnet18w32").state_dict(), path, metadata=forged)
        request = Request(experiment=METHODS["baseline"], scale=SCALES["smoke"], pretrained=str(path))
        records.append(weights_of(request)[1])
        assert records[-1] == {"name": path.name, "sha256": file_digest(path), "epochs": "3"}
    assert records[0] != records[1]


def test_the_committed_encoder_is_the_one_that_rows_name() -> None:
    path = WEIGHTS / "silhouettes-resnet18w32.safetensors"
    assert path.stat().st_size <= 8_000_000
    assert file_digest(path) == "22b94c4a7257eece6429903fb8d4d5dccaa2e57d06564d6b101099c048729c7a"
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata()["source"].startswith("12000 single generated objects")
        kinds = {opened.get_tensor(name).dtype for name in opened.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}
    encoder = Encoder("resnet18w32", output_stride=8)
    before = encoder.state_dict()["conv1.weight"].clone()
    load_encoder(encoder, "resnet18w32", path)
    assert all(tensor.isfinite().all() for tensor in encoder.state_dict().values())
    assert not torch.equal(before, encoder.state_dict()["conv1.weight"])


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
        ({}, True),  # nothing is known
    ],
)
def test_imitated_bfloat16_is_told_from_real(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert native("cpu", "bf16") is expected
    assert native("cpu", "fp32")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert native("cpu", "bf16")  # an older torch cannot say


@pytest.mark.parametrize("imitates", [False, True])
def test_a_gpu_that_imitates_bfloat16_is_not_given_it_unasked(
    monkeypatch: pytest.MonkeyPatch, imitates: bool
) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not imitates
    )
    request = Request(experiment=METHODS["baseline"], scale=SCALES["smoke"], device="cuda:0")
    assert precision_of(request) == ("fp32" if imitates else "bf16")
    assert precision_of(replace(request, precision="bf16")) == "bf16"
    assert precision_of(replace(request, device="cpu")) == "fp32"
