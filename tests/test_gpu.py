"""What must be the same on a GPU: `pytest -m gpu` on a machine that has one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import boxes_map

from segmix_core.attacks.adaptive import Adversary, attack
from segmix_core.cooccurrence import cooccurrence_matrix, presence
from segmix_core.evaluation import ConfusionMatrix
from segmix_core.experiments import METHODS, SCALES
from segmix_core.experiments.robustness import STUDIED, STUDIES
from segmix_core.losses import stage1_loss
from segmix_core.mixing import mix
from segmix_core.models import SourceSeparation
from segmix_core.records import Batch
from segmix_core.request import Request, data_of
from segmix_core.rng import stream
from segmix_core.robustness.universal import crafted, crafting
from segmix_core.run import train_and_measure

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def drawn() -> tuple[Batch, torch.Tensor]:
    rng = stream(3, "gpu")
    labels = [boxes_map(rng) for _ in range(16)]
    image_BCHW = torch.from_numpy(rng.random((16, 3, 64, 64))).float()
    batch = Batch(image_BCHW, torch.stack([torch.from_numpy(label) for label in labels]).long())
    return batch, torch.from_numpy(cooccurrence_matrix(presence(labels, 21)))


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_is_mixed_alike(name: str) -> None:
    batch, matrix_NN = drawn()
    on_cpu = mix(METHODS[name].method, batch, matrix_NN, rng=stream(0, "mix"))
    on_gpu = mix(METHODS[name].method, batch.to("cuda"), matrix_NN.to("cuda"), rng=stream(0, "mix"))
    assert on_gpu.image_BCHW.is_cuda
    assert on_gpu.partner_B.cpu().tolist() == on_cpu.partner_B.tolist()
    assert (on_gpu.dominant_BHW.cpu() == on_cpu.dominant_BHW).all()
    assert (on_gpu.phantom_BHW.cpu() == on_cpu.phantom_BHW).all()
    torch.testing.assert_close(on_gpu.image_BCHW.cpu(), on_cpu.image_BCHW)


def test_losses_and_counts_agree() -> None:
    batch, matrix_NN = drawn()
    mixed = mix(METHODS["sourcesep-cm"].method, batch, matrix_NN, rng=stream(0, "mix"))
    moved = mix(METHODS["sourcesep-cm"].method, batch.to("cuda"), matrix_NN.to("cuda"), rng=stream(0, "mix"))
    torch.manual_seed(0)
    model = SourceSeparation(
        21, backbone="resnet18w32", output_stride=8, aspp_channels=64, aspp_rates=(2, 4, 6)
    )
    model.eval()
    with torch.inference_mode():
        here = model(mixed.image_BCHW)
        there = model.to("cuda")(moved.image_BCHW)
    expected, found = stage1_loss(here, mixed), stage1_loss(there, moved)
    for term in expected:
        torch.testing.assert_close(found[term].cpu(), expected[term], rtol=1e-3, atol=1e-4)
    prediction = here.dominant.argmax(1)
    counted = [ConfusionMatrix(21), ConfusionMatrix(21)]
    counted[0].update(prediction, mixed.dominant_BHW)
    counted[1].update(prediction.to("cuda"), moved.dominant_BHW)
    assert (counted[0].matrix == counted[1].matrix).all()


def test_attacks_find_as_much_there() -> None:
    """Random starts differ between the devices; what they lead to may differ by a little."""
    batch, _ = drawn()
    torch.manual_seed(0)
    model = SourceSeparation(
        21, backbone="resnet18w32", output_stride=8, aspp_channels=64, aspp_rates=(2, 4, 6)
    )
    label_BHW = model.eval()(batch.image_BCHW).dominant.argmax(1)
    adversary = Adversary(aim="joint", epsilon=4, steps=10)
    right = {}
    for device in ("cpu", "cuda"):
        found = attack(
            model.to(device),
            batch.image_BCHW.to(device),
            label_BHW.to(device),
            adversary,
            measured="dominant",
            generators=[
                torch.Generator(device=device).manual_seed(number) for number in range(len(label_BHW))
            ],
        )
        change_BCHW = 255 * (found.image_BCHW.cpu() - batch.image_BCHW)
        assert float(change_BCHW.abs().max()) <= 4 + 1e-3
        right[device] = float(found.right_B.mean())
    assert right["cuda"] < 1
    assert right["cuda"] == pytest.approx(right["cpu"], abs=0.1)


@pytest.mark.parametrize("attack_name", ["uap", "gd-uap-data"])
def test_perturbations_are_crafted_there(attack_name: str, tiny_voc: Path, tmp_path: Path) -> None:
    request = Request(
        experiment=METHODS["baseline"],
        scale=SCALES["smoke"],
        dataset="voc2012",
        root=tiny_voc,
        device="cuda",
    )
    checkpoint, _ = train_and_measure(request, tmp_path / "run")
    how = crafting(attack_name, size=64, study=STUDIES["smoke"])
    images, _ = data_of(request)
    made = crafted(checkpoint, how, images, tmp_path, output="dominant", device="cuda")
    assert 0 < made.epsilon <= 10
    assert made.v_CHW.shape == (3, 64, 64)


@pytest.mark.parametrize("name", ["baseline", "sourcesep-cm", "sourcesep-cc", "baseline+adversarial"])
def test_a_run_goes_through_in_bfloat16(name: str, tiny_voc: Path, tmp_path: Path) -> None:
    request = Request(
        experiment=STUDIED[name],
        scale=replace(SCALES["smoke"], stage1_steps=6, stage2_steps=4),
        dataset="voc2012",
        root=tiny_voc,
        device="cuda",
    )
    _, rows = train_and_measure(request, tmp_path / "run")
    assert {row["precision"] for row in rows} == {"bf16"}
    assert all(row["device"] == torch.cuda.get_device_name() for row in rows)
    assert all(row["metrics"]["mIoU"] is not None for row in rows)
