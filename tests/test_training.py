"""Both stages, step for step: the schedule, stopping and going on, damaged checkpoints, failing disks."""

import functools
import os
import pickle
import random
import resource
import shutil
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from conftest import boxes_map, write_voc
from safetensors import safe_open

from segmix_core.cooccurrence import cooccurrence_matrix
from segmix_core.data import open_dataset
from segmix_core.errors import InputError, WorkError
from segmix_core.experiments import METHODS, SCALES, Experiment, Scale, find_experiment
from segmix_core.experiments.scales import SMOKE
from segmix_core.losses import mixed_label_loss, segmentation_loss, stage1_loss, stage2_loss
from segmix_core.measure import predict
from segmix_core.models import Encoder, SourceSeparation, load_encoder, load_model, read_checkpoint
from segmix_core.records import Batch, MixedBatch, Separation
from segmix_core.request import Request, model_of, plan_of
from segmix_core.training import (
    Plan,
    Pretraining,
    Progress,
    TrainingBatches,
    begin_after_stage1,
    checkpoint,
    learning_rate,
    poly,
    pretrain,
    stages,
    train,
    write_encoder,
)

TINY = replace(
    SMOKE,
    name="tiny",
    crop=33,
    eval_crop=64,
    batch_size=4,
    aspp_channels=8,
    stage1_steps=5,
    stage2_steps=5,
)
LOOK = 2
"""Steps between two looks at the losses, in these tests; also where a run can be stopped."""

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def short_looks() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "CHECK_EVERY", LOOK)
        yield
    torch.set_num_threads(before)


def go(
    root: Path,
    folder: Path,
    method: str | Experiment,
    *,
    scale: Scale = TINY,
    seed: int = 0,
    stop: int | None = None,
    prepare: Callable[[SourceSeparation], object] = lambda model: None,
    workers: int = 0,
    save_every: int = 500,
    resume: bool = False,
    **given: Any,
) -> tuple[SourceSeparation, Progress]:
    """Train in `folder`; with `stop`, the run is asked to end once that many steps are done."""
    request = Request(
        experiment=find_experiment(method) if isinstance(method, str) else method,
        scale=scale,
        dataset="voc2012",
        root=root,
        seed=seed,
        workers=workers,
    )
    dataset = open_dataset("voc2012", root, "train")
    batches = TrainingBatches(
        dataset,
        batch_size=scale.batch_size,
        crop=scale.crop,
        scale_range=scale.scale_range,
        seed=seed,
        clustered=request.experiment.method.pairing == "clusters",
    )
    model = model_of(request, 21)
    prepare(model)
    done = 0

    def report(step: int, steps: int, terms: dict[str, float]) -> None:
        nonlocal done
        done = step

    progress = train(
        replace(plan_of(request, len(dataset)), save_every=save_every),
        model,
        batches,
        cooccurrence_matrix(batches.presence),
        folder=folder,
        resume=resume,
        report=report,
        stopping=lambda: stop is not None and done >= stop,
        **given,
    )
    return model, progress


def weights_of(path: Path) -> Weights:
    stored: Weights = read_checkpoint(path)["model"]
    return stored


def same(first: Weights, second: Weights) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of all ten steps, trained once for each method."""
    made: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in made:
            made[method] = tmp_path_factory.mktemp(method)
            go(root, made[method], method)
        return made[method]

    return of


METHODS_TRIED = ("baseline", "sourcesep-cm", "sourcesep-cc", "baseline+noise", "baseline+adversarial")


# Stopping and going on


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_stopping_in_each_stage_and_going_on_changes_no_bit(
    root: Path, tmp_path: Path, undisturbed: Callable[[str], Path], method: str
) -> None:
    whole = read_checkpoint(undisturbed(method) / "checkpoint.pt")
    assert whole["progress"]["step"] == 10
    for stop in (2, 7):
        with pytest.raises(KeyboardInterrupt):
            go(root, tmp_path, method, stop=stop, resume=True)
        assert read_checkpoint(tmp_path / "checkpoint.pt")["progress"]["step"] == stop
        torch.manual_seed(stop)  # a new process would stand elsewhere in torch's stream, too
    model, progress = go(root, tmp_path, method, resume=True)
    assert same(model.state_dict(), whole["model"])
    assert progress.losses == whole["progress"]["losses"]
    assert [entry["step"] for entry in progress.losses] == [2, 4, 5, 7, 9, 10]
    assert same(weights_of(tmp_path / "stage1.pt"), weights_of(undisturbed(method) / "stage1.pt"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # what Python 3.12 says of fork
@pytest.mark.parametrize("method", METHODS_TRIED)
def test_loading_processes_change_no_bit(
    root: Path, tmp_path: Path, undisturbed: Callable[[str], Path], method: str
) -> None:
    whole = read_checkpoint(undisturbed(method) / "checkpoint.pt")
    model, progress = go(root, tmp_path, method, workers=2)
    assert same(model.state_dict(), whole["model"])
    assert progress.losses == whole["progress"]["losses"]


def test_the_seed_decides(root: Path, tmp_path: Path, undisturbed: Callable[[str], Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(root, tmp_path, "baseline", seed=1, stop=2)
    whole = read_checkpoint(undisturbed("baseline") / "checkpoint.pt")["progress"]["losses"]
    assert read_checkpoint(tmp_path / "checkpoint.pt")["progress"]["losses"][0] != whole[0]


def test_a_finished_run_is_left_as_it_is(
    root: Path, tmp_path: Path, undisturbed: Callable[[str], Path]
) -> None:
    kept = tmp_path / "checkpoint.pt"
    kept.write_bytes((undisturbed("baseline") / "checkpoint.pt").read_bytes())
    model, progress = go(root, tmp_path, "baseline", resume=True)
    assert progress.step == 10
    assert same(model.state_dict(), weights_of(kept))
    assert kept.read_bytes() == (undisturbed("baseline") / "checkpoint.pt").read_bytes()


# The batches


def test_an_epoch_visits_every_image_once_in_an_order_of_its_own(root: Path) -> None:
    """Of 24 images in batches of 5, four are left out, others in each epoch."""
    dataset = open_dataset("voc2012", root, "train")
    batches = TrainingBatches(dataset, batch_size=5, crop=33, scale_range=(0.5, 1.5), seed=0)
    epochs = [
        [batches.indices(step).tolist() for step in range(4 * epoch, 4 * epoch + 4)] for epoch in (0, 1)
    ]
    for steps in epochs:
        assert [len(step) for step in steps] == [5] * 4
        assert len({index for step in steps for index in step}) == 20
    assert epochs[0] != epochs[1]
    other = TrainingBatches(dataset, batch_size=5, crop=33, scale_range=(0.5, 1.5), seed=1)
    assert other.indices(0).tolist() != epochs[0][0]


def test_clusters_pair_anew_at_each_step_and_need_two_categories(root: Path, tmp_path: Path) -> None:
    def clustered(folder: Path) -> TrainingBatches:
        dataset = open_dataset("voc2012", folder, "train")
        return TrainingBatches(dataset, batch_size=4, crop=33, scale_range=(0.5, 1.5), seed=0, clustered=True)

    batches = clustered(root)
    first, second = (batches.indices(step).tolist() for step in (0, 1))
    assert len(first) == len(second) == 8
    assert first != second
    lone = np.zeros((64, 64), dtype=np.uint8)
    lone[:20] = 3  # background is no category to pair with
    with pytest.raises(InputError, match="fewer than two categories to pair images of"):
        clustered(write_voc(tmp_path / "lone", {"train": [lone] * 4}))


# The schedule


def plan(method: str, scale: Scale = TINY, images: int = 24) -> Plan:
    return plan_of(Request(experiment=METHODS[method], scale=scale), images)


def test_the_rate_falls_from_the_start_of_each_stage_to_nearly_nothing() -> None:
    long = plan("sourcesep-cm", replace(TINY, stage1_steps=1000, stage2_steps=400))
    ends = {0: 1e-2, 999: 1e-2 * 0.001**0.9, 1000: 1e-3, 1399: 1e-3 * 0.0025**0.9}
    for step, rate in ends.items():
        assert learning_rate(long, step) == pytest.approx(rate, rel=1e-12)
    assert learning_rate(long, 500) == pytest.approx(1e-2 * 0.5**0.9, rel=1e-12)
    assert learning_rate(long, 1200) == pytest.approx(1e-3 * 0.5**0.9, rel=1e-12)
    assert poly(3.0, 1, 4, power=2.0) == pytest.approx(3.0 * 0.75**2)
    assert poly(3.0, 1, 4) == pytest.approx(3.0 * 0.75**0.9)
    assert [long.stage(step) for step in (0, 999, 1000, 1399)] == [1, 1, 2, 2]


def test_paper_scale_is_section_4() -> None:
    paper = plan("sourcesep-cm", SCALES["paper"], images=10582)
    assert (paper.stage1_steps, paper.stage2_steps) == (50 * 661, 50 * 661)
    assert learning_rate(paper, 0) == 2.5e-4
    assert learning_rate(paper, paper.stage1_steps) == pytest.approx(2.5e-5)


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda scale: scale.name)
def test_every_method_of_table_1_gets_the_same_steps(scale: Scale) -> None:
    assert len({(plan(name, scale).stage1_steps, plan(name, scale).steps) for name in METHODS}) == 1
    assert plan("baseline", scale).stage2_steps > 0


def test_branches_learn_ten_times_as_fast_at_every_step(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[dict[int, float]] = []
    step_of = torch.optim.SGD.step

    def step(self: torch.optim.SGD) -> None:
        taken.append({id(one): group["lr"] for group in self.param_groups for one in group["params"]})
        for group in self.param_groups:  # section 4.1
            assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.9, 5e-4, False)
        step_of(self)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    scale = replace(TINY, stage1_steps=2, stage2_steps=2)
    model, _ = go(root, tmp_path, "sourcesep-cm", scale=scale)
    assert len(taken) == 4
    for number, rates in enumerate(taken):
        expected = (1e-2, 1e-2 * 0.5**0.9, 1e-3, 1e-3 * 0.5**0.9)[number]
        assert rates.keys() == {id(parameter) for parameter in model.parameters()}
        for name, parameter in model.named_parameters():
            factor = 10 if name.startswith(("pyramids.", "classifiers.")) else 1
            assert rates[id(parameter)] == pytest.approx(factor * expected, rel=1e-12), name


# What each stage learns from


def test_each_stage_has_the_objective_that_its_method_declares() -> None:
    rng = torch.Generator().manual_seed(0)
    dominant, phantom, final = torch.randn(3, 2, 4, 3, 3, generator=rng)
    labels = torch.randint(0, 4, (2, 2, 3, 3), generator=rng)
    mixed = MixedBatch(
        torch.zeros(2, 3, 3, 3), labels[0], labels[1], torch.tensor([0.6, 0.9]), torch.arange(2)
    )
    apart, plain = Separation(dominant, phantom, final), Separation(dominant)
    cm = find_experiment("sourcesep-cm").method
    for method, stage, separation, expected in (
        (cm, 1, apart, stage1_loss(apart, mixed)),
        (cm, 2, apart, stage2_loss(apart, labels[0])),
        (replace(cm, ppa="log_eps"), 2, apart, stage2_loss(apart, labels[0], ppa="log_eps")),
        (replace(cm, ppa="off"), 2, apart, stage2_loss(apart, labels[0], ppa="off")),
        (find_experiment("table8/sourcesep-cm-mixed").method, 2, apart, stage1_loss(apart, mixed)),
        (replace(cm, finetune="plain"), 2, apart, segmentation_loss(apart, labels[0])),
        (METHODS["mixup"].method, 1, plain, mixed_label_loss(plain, mixed)),
        (replace(METHODS["mixup"].method, finetune="mixed"), 2, plain, mixed_label_loss(plain, mixed)),
        (METHODS["mixup"].method, 2, plain, segmentation_loss(plain, labels[0])),
        (METHODS["cutmix"].method, 1, plain, segmentation_loss(plain, labels[0])),
        (METHODS["baseline"].method, 1, plain, segmentation_loss(plain, labels[0])),
    ):
        assert stages.objective(method, stage, separation, mixed) == expected


def test_fine_tuning_after_clusters_sees_single_images(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batch] = []
    unmixed = stages.unmixed
    monkeypatch.setattr(stages, "unmixed", lambda batch: seen.append(batch) or unmixed(batch))
    go(root, tmp_path, "sourcesep-cc", scale=replace(TINY, stage1_steps=2, stage2_steps=2))
    dataset = open_dataset("voc2012", root, "train")
    plain = TrainingBatches(dataset, batch_size=4, crop=33, scale_range=(0.5, 1.5), seed=0)
    for batch, expected in zip(seen, plain.run(2, 4, device="cpu"), strict=True):
        assert torch.equal(batch.image_BCHW, expected.image_BCHW)
        assert torch.equal(batch.label_BHW, expected.label_BHW)


# What each stage moves


def moved(undisturbed: Callable[[str], Path], method: str) -> dict[str, bool]:
    """For each tensor, whether stage 2 changed it."""
    before, after = (weights_of(undisturbed(method) / name) for name in ("stage1.pt", "checkpoint.pt"))
    return {name: not torch.equal(before[name], after[name]) for name in before}


def test_stage_2_freezes_the_joining_head_alone(undisturbed: Callable[[str], Path]) -> None:
    for name, changed in moved(undisturbed, "sourcesep-cm").items():
        assert changed != name.startswith("joiner."), name
    assert all(moved(undisturbed, "baseline").values())


def test_the_defences_begin_where_their_definition_says(undisturbed: Callable[[str], Path]) -> None:
    """Attacked images are for stage 2 alone, noise is for both stages."""
    plain, noise, adversarial = (
        [weights_of(undisturbed(method) / name) for name in ("stage1.pt", "checkpoint.pt")]
        for method in ("baseline", "baseline+noise", "baseline+adversarial")
    )
    assert same(adversarial[0], plain[0])
    assert not same(adversarial[1], plain[1])
    assert not same(noise[0], plain[0])


def test_stage_1_moves_everything(root: Path, undisturbed: Callable[[str], Path]) -> None:
    request = Request(experiment=METHODS["sourcesep-cm"], scale=TINY)
    start = model_of(request, 21).state_dict()
    trained = weights_of(undisturbed("sourcesep-cm") / "stage1.pt")
    assert not any(torch.equal(start[name], trained[name]) for name in start)


def test_denoising_silences_the_phantom(root: Path, tmp_path: Path) -> None:
    scale = replace(TINY, stage1_steps=4, stage2_steps=10, stage2_lr=1e-2)
    dataset = open_dataset("voc2012", root, "val")
    image_BCHW = torch.from_numpy(np.stack([dataset.image(index) for index in range(8)]))
    image_BCHW = image_BCHW.permute(0, 3, 1, 2).float() / 255

    def activation(path: Path) -> float:
        with torch.inference_mode():
            phantom = load_model(path)(image_BCHW).phantom
            assert phantom is not None
            return float(torch.log1p(phantom.clamp(min=0).sum((1, 2, 3))).mean())

    go(root, tmp_path, "sourcesep-cm", scale=scale)
    cm = METHODS["sourcesep-cm"]
    without = replace(cm, name="no-ppa", method=replace(cm.method, ppa="off"))
    go(root, tmp_path / "off", without, scale=scale)
    before, after, off = (
        activation(tmp_path / name) for name in ("stage1.pt", "checkpoint.pt", "off/checkpoint.pt")
    )
    assert after < before - 1.0
    assert after < off - 1.0


# A curve that only a change of the numbers may change

GOLDEN = [
    {"step": 2, "final": 3.037631, "dominant": 3.058789, "phantom": 0.4087553, "total": 6.505176},
    {"step": 4, "final": 3.007601, "dominant": 2.823141, "phantom": 0.6287760, "total": 6.459518},
    {"step": 5, "final": 3.043094, "dominant": 3.054201, "phantom": 0.2756886, "total": 6.372984},
    {"step": 7, "dominant": 3.422550, "ppa": 7.746624, "total": 11.16917},
    {"step": 9, "dominant": 3.442787, "ppa": 7.688089, "total": 11.13088},
    {"step": 10, "dominant": 3.359521, "ppa": 7.668127, "total": 11.02765},
]


def test_the_losses_of_a_small_run_are_what_they_were(root: Path, tmp_path: Path) -> None:
    def without_dropout(model: SourceSeparation) -> None:
        # torch draws dropout differently on different kinds of processor
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0

    scale = replace(TINY, stage1_lr=1e-3, stage2_lr=1e-4)  # at more, rounding grows from step to step
    _, progress = go(root, tmp_path, "sourcesep-cm", scale=scale, prepare=without_dropout)
    assert len(progress.losses) == len(GOLDEN)
    for entry, expected in zip(progress.losses, GOLDEN, strict=True):
        assert entry == pytest.approx(expected, rel=1e-4)


# Numbers that run away


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = replace(TINY, stage1_steps=8)
    with monkeypatch.context() as poisoned:
        poisoned.setattr(stages, "learning_rate", lambda plan, step: 1e30 if step >= 4 else 1e-2)
        with pytest.raises(WorkError, match=r"^step 5: the loss is not finite; .*lower the learning rate$"):
            go(root, tmp_path, "sourcesep-cm", scale=scale, save_every=LOOK)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    kept = tmp_path / "checkpoint.pt"
    assert read_checkpoint(kept)["progress"]["step"] == 4
    assert all(tensor.isfinite().all() for tensor in load_model(kept).state_dict().values())
    _, progress = go(root, tmp_path, "sourcesep-cm", scale=scale, resume=True)
    assert progress.step == scale.stage1_steps + scale.stage2_steps


def test_checkpoints_are_written_on_the_way(root: Path, tmp_path: Path) -> None:
    written = []
    scale = replace(TINY, stage1_steps=9, stage2_steps=3)

    def report(step: int, steps: int, terms: dict[str, float]) -> None:
        path = tmp_path / "checkpoint.pt"
        if path.exists():
            written.append(read_checkpoint(path)["progress"]["step"])

    request = Request(experiment=METHODS["baseline"], scale=scale)
    dataset = open_dataset("voc2012", root, "train")
    batches = TrainingBatches(dataset, batch_size=4, crop=33, scale_range=(0.5, 1.5), seed=0)
    model = model_of(request, 21)
    short = replace(plan_of(request, 24), save_every=4)
    matrix = cooccurrence_matrix(batches.presence)
    train(short, model, batches, matrix, folder=tmp_path, report=report)
    assert sorted(set(written)) == [4, 8, 9]


@pytest.mark.parametrize(
    ("method", "void"),
    [(method, void) for method in (*METHODS_TRIED, "mixup", "cutmix") for void in (2, 4)],
)
def test_images_without_a_labelled_pixel_train_without_nan(tmp_path: Path, method: str, void: int) -> None:
    rng = np.random.default_rng(1)
    nothing = np.full((64, 64), 255, dtype=np.uint8)
    maps = [nothing] * void + [boxes_map(rng) for _ in range(4 - void)]
    scale = replace(TINY, stage1_steps=2, stage2_steps=2)
    void_root = write_voc(tmp_path / "void", {"train": maps})
    if method == "sourcesep-cc" and void == 4:
        with pytest.raises(InputError, match="fewer than two categories to pair images of"):
            go(void_root, tmp_path, method, scale=scale)
        return
    model, progress = go(void_root, tmp_path, method, scale=scale)
    assert all(np.isfinite(value) for entry in progress.losses for value in entry.values())
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_batches_of_one_train(root: Path, tmp_path: Path, method: str) -> None:
    scale = replace(TINY, batch_size=1, stage1_steps=2, stage2_steps=2)
    model, progress = go(root, tmp_path, method, scale=scale)
    assert progress.step == 4
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


# Disks that are full, folders that are none


@pytest.fixture
def stopped(root: Path, tmp_path: Path) -> Path:
    """A folder with the checkpoint of a baseline run after two steps."""
    with pytest.raises(KeyboardInterrupt):
        go(root, tmp_path / "out", "baseline", stop=2)
    return tmp_path / "out"


def full_disk(content: object, path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 the first part")
    raise OSError(28, "No space left on device")


def test_a_disk_that_fills_up_leaves_the_checkpoint_of_before(
    root: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (stopped / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(WorkError, match=r"checkpoint\.pt: could not be written \(No space left on device\)"):
        go(root, stopped, "baseline", resume=True, stop=4)
    assert [path.name for path in stopped.iterdir()] == ["checkpoint.pt"]
    assert (stopped / "checkpoint.pt").read_bytes() == before
    monkeypatch.undo()
    monkeypatch.setattr(stages, "CHECK_EVERY", LOOK)
    assert go(root, stopped, "baseline", resume=True)[1].step == 10


def test_a_write_that_the_system_refuses_leaves_the_checkpoint_of_before(root: Path, stopped: Path) -> None:
    before = (stopped / "checkpoint.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(WorkError, match=r"checkpoint\.pt: could not be written \(the disk is full"):
            go(root, stopped, "baseline", resume=True, stop=4)
        with pytest.raises(WorkError, match=r"encoder\.safetensors: could not be written \(the disk is full"):
            write_encoder(Encoder("resnet18w32"), stopped / "encoder.safetensors", {})
        with pytest.raises(WorkError, match=r"stage1\.pt: could not be written \(the disk is full"):
            begin_after_stage1(stopped / "checkpoint.pt", stopped, {"stage1_steps": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in stopped.iterdir()] == ["checkpoint.pt"]
    assert (stopped / "checkpoint.pt").read_bytes() == before


def test_a_file_in_place_of_the_folder_is_refused_and_kept(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="cannot write here"):
        go(root, tmp_path / "out", "baseline", stop=2)
    assert (tmp_path / "out").read_text() == "mine"


def _save_for_ever(
    path: Path, model: SourceSeparation, optimizer: torch.optim.Optimizer, step: int
) -> NoReturn:
    plan = Plan(method=METHODS["baseline"].method, scale=TINY, seed=0, stage1_steps=5, stage2_steps=5)
    try:
        while True:
            step += 1
            with torch.no_grad():
                for tensor in model.state_dict().values():
                    tensor.fill_(step)
            checkpoint.save(path, model, optimizer, Progress(step=step), plan.identity())
    finally:
        os._exit(1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # what Python 3.12 says of fork
def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    model = SourceSeparation(5, backbone="resnet18w32", aspp_channels=8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    moments = random.Random(0)
    written = 0
    for number in range(1, 9):
        child = os.fork()
        if child == 0:
            _save_for_ever(path, model, optimizer, 1000 * number)
        try:
            began = time.monotonic()
            while not path.exists() or path.stat().st_mtime_ns == written:
                assert time.monotonic() - began < 60
                time.sleep(0.001)
            time.sleep(moments.random() * (time.monotonic() - began))  # somewhere within the next save
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        written = path.stat().st_mtime_ns
        step = read_checkpoint(path)["progress"]["step"]
        assert all((tensor == step).all() for tensor in load_model(path).state_dict().values())
        assert 1000 * number < step < 1000 * number + 500
    assert any(tmp_path.glob(".checkpoint.pt.*.part"))  # some were killed within a write


# Checkpoints that are none, or another run's


class _Hostile:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def one_line(error: pytest.ExceptionInfo[InputError], path: Path, what: str) -> None:
    message = str(error.value)
    assert message.startswith(f"{path}: {what}")
    assert "\n" not in message
    assert "; " in message.removeprefix(f"{path}: ")


def refuse(path: Path, root: Path, what: str) -> None:
    """Every way of opening a checkpoint refuses this one, and leaves it as it is."""
    before = path.read_bytes()
    with pytest.raises(InputError) as error:
        load_model(path)
    one_line(error, path, what)
    with pytest.raises(InputError) as error:
        go(root, path.parent, "baseline", resume=True)
    one_line(error, path, what)
    with pytest.raises(InputError) as error:
        predict(path, [], path.parent)
    one_line(error, path, what)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_refused(root: Path, stopped: Path, kept: float) -> None:
    path = stopped / "checkpoint.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    refuse(path, root, "the checkpoint is empty" if kept == 0 else "the checkpoint is cut short or damaged")


def test_a_byte_that_changed_is_seen(root: Path, stopped: Path) -> None:
    """torch itself does not look at the checksums of the parts."""
    path = stopped / "checkpoint.pt"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 255
    path.write_bytes(whole)
    refuse(path, root, "the checkpoint is cut short or damaged")


def test_a_packed_checkpoint_is_refused(root: Path, stopped: Path, tmp_path: Path) -> None:
    """A megabyte may unpack to a thousand."""
    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(stopped / "checkpoint.pt") as whole, zipfile.ZipFile(path, "w") as packed:
        for part in whole.infolist():
            packed.writestr(part.filename, whole.read(part), compress_type=zipfile.ZIP_DEFLATED)
    refuse(path, root, "the checkpoint is cut short or damaged")


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not(root: Path, tmp_path: Path) -> None:
    path, marker = tmp_path / "checkpoint.pt", tmp_path / "marker"
    hostile = {"format": 1, "model": _Hostile(marker)}
    for write in (lambda: path.write_bytes(pickle.dumps(hostile)), lambda: torch.save(hostile, path)):
        write()
        refuse(path, root, "not a checkpoint of tensors and numbers alone; anything else could run code")
        assert not marker.exists()
    pickle.loads(pickle.dumps(hostile))
    assert marker.is_dir()  # it would have


@pytest.mark.parametrize(
    "content", [{}, {"format": 1}, {"format": 2, "model": {}}, [1, 2], {"model": {}}], ids=str
)
def test_a_file_of_something_else_is_refused(root: Path, tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "checkpoint.pt")
    refuse(tmp_path / "checkpoint.pt", root, "not a checkpoint of this project")


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_model(tmp_path / "checkpoint.pt")
    one_line(error, tmp_path / "checkpoint.pt", "no such checkpoint")


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"seed": 1}, "seed is 0, not 1"),
        ({"scale": replace(TINY, batch_size=8)}, "scale.batch_size is 4, not 8"),
        ({"scale": replace(TINY, stage2_steps=6)}, "scale.stage2_steps is 5, not 6"),
        ({"scale": replace(TINY, scale_range=(0.5, 2.0))}, "scale.scale_range is [0.5, 1.5], not [0.5, 2.0]"),
        ({"method": "mixup"}, "method.pairing is none, not random"),
    ],
)
def test_going_on_with_other_options_is_refused(
    root: Path, stopped: Path, changed: dict[str, Any], what: str
) -> None:
    before = (stopped / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError) as error:
        go(root, stopped, **({"method": "baseline"} | changed), resume=True)
    one_line(error, stopped / "checkpoint.pt", f"belongs to another run: its {what}")
    assert (stopped / "checkpoint.pt").read_bytes() == before


def test_going_on_with_another_device_is_refused_where_it_is_known(
    root: Path, stopped: Path, tmp_path: Path
) -> None:
    content = read_checkpoint(stopped / "checkpoint.pt")
    assert content["identity"]["device"] == "cpu"
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    content["identity"]["device"] = "cuda"
    torch.save(content, folder / "checkpoint.pt")
    with pytest.raises(InputError, match="its device is cuda, not cpu"):
        go(root, folder, method="baseline", resume=True)
    del content["identity"]["device"]  # as in checkpoints of before
    torch.save(content, folder / "checkpoint.pt")
    go(root, folder, method="baseline", resume=True)


@pytest.mark.parametrize("changed", [{"num_categories": 5}, {"head": "full"}, {"aspp_channels": 16}], ids=str)
def test_going_on_with_another_architecture_is_refused(stopped: Path, changed: dict[str, Any]) -> None:
    path = stopped / "checkpoint.pt"
    options = {"num_categories": 21, "backbone": "resnet18w32", "head": "plain", "output_stride": 8}
    options |= {"aspp_channels": 8, "aspp_rates": (2, 4, 6)}
    model = SourceSeparation(**(options | changed))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = stages.make_optimizer(model, TINY)
    with pytest.raises(InputError) as error:
        checkpoint.restore(path, model, optimizer, {})
    one_line(error, path, "was written by another architecture")
    assert same(model.state_dict(), before)


def test_weights_that_do_not_fit_their_architecture_are_refused(stopped: Path) -> None:
    path = stopped / "checkpoint.pt"
    content = read_checkpoint(path)
    content["architecture"]["num_categories"] = 5
    torch.save(content, path)
    with pytest.raises(InputError) as error:
        load_model(path)
    one_line(error, path, "the weights do not fit the architecture")


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ("model", None, "the checkpoint is damaged (model is not"),
        ("model", {"encoder.conv1.weight": 5}, "the checkpoint is damaged (model is not"),
        ("model", {5: torch.zeros(3)}, "the checkpoint is damaged (model is not"),
        ("architecture", [1], "the checkpoint is damaged (architecture is not"),
        ("progress", {}, "the checkpoint is damaged (step of progress is not"),
        ("progress.step", -5, "the checkpoint is damaged (step of progress is not"),
        ("identity", {}, "the checkpoint is damaged (method of identity is not"),
        ("identity.method", {}, "the checkpoint is damaged (method of identity is not"),
        ("identity.method.delta", {"kind": 5}, "the checkpoint is damaged (method of identity is not"),
        ("identity.scale.eval_crop", -5, "the checkpoint is damaged (eval_crop of scale is not"),
        ("identity.scale.eval_crop", "abc", "the checkpoint is damaged (eval_crop of scale is not"),
        ("identity.scale.eval_crop", 0, "the checkpoint is damaged (scale is not"),
        ("identity.scale.silhouettes", [1], "the checkpoint is damaged (scale is not"),
        ("architecture", {}, "the checkpoint is damaged (aspp_rates of architecture is not"),
        (
            "architecture.aspp_rates",
            [0, 2, 3],
            "the checkpoint is damaged (aspp_rates of architecture is not",
        ),
        (
            "architecture.aspp_rates",
            [-1, 2, 3],
            "the checkpoint is damaged (aspp_rates of architecture is not",
        ),
        ("progress.seconds", float("nan"), "the checkpoint is damaged (seconds of progress is not"),
        ("progress.seconds", 10**400, "the checkpoint is damaged (seconds of progress is not"),
        ("progress.step", True, "the checkpoint is damaged (step of progress is not"),
        (
            "identity.seed",
            functools.reduce(lambda inner, _: [inner, inner], range(40), "x"),
            "the checkpoint is damaged (identity is not",
        ),
        ("identity.scale.eval_crop", 20_000, "the checkpoint is damaged (scale is not"),
        ("identity.scale.silhouettes", [48, 24, -5], "the checkpoint is damaged (scale is not"),
        ("architecture.backbone", "resnet7", "names an architecture that cannot be built"),
        ("architecture.head", "round", "names an architecture that cannot be built"),
        ("architecture.aspp_rates", [2], "names an architecture that cannot be built"),
        ("architecture.num_categories", -1, "names an architecture that cannot be built"),
        ("architecture.num_categories", "abc", "names an architecture that cannot be built"),
        ("architecture.more", 1, "names an architecture that cannot be built"),
    ],
)
def test_a_checkpoint_with_a_part_of_something_else_is_refused(
    stopped: Path, at: str, value: object, said: str
) -> None:
    path = stopped / "checkpoint.pt"
    content = read_checkpoint(path)
    *within, last = at.split(".")
    functools.reduce(dict.__getitem__, within, content)[last] = value
    torch.save(content, path)
    with pytest.raises(InputError) as error:
        load_model(path)
    one_line(error, path, said)


def _first_group(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["optimizer"]["param_groups"][0].update(changed)


def _first_buffer(value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        kept = content["optimizer"]["state"][0]
        kept["momentum_buffer"] = value(kept["momentum_buffer"]) if callable(value) else value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(optimizer={}),
        lambda content: content["progress"].update(more=1),
        lambda content: content["optimizer"]["param_groups"][0].pop("momentum"),
        lambda content: content["optimizer"]["state"].update({0: 3}),
        lambda content: content["optimizer"]["state"].update({9999: {"momentum_buffer": None}}),
        _first_group(momentum="a"),
        _first_group(momentum=0.1),
        _first_group(maximize=True),
        _first_group(lr="a"),
        _first_buffer("abc"),
        _first_buffer(lambda buffer: buffer.flatten()[:-1]),
        _first_buffer(lambda buffer: buffer * float("nan")),
    ],
    ids=range(12),
)
def test_what_cannot_be_gone_on_from_is_refused(
    root: Path, stopped: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    content = read_checkpoint(stopped / "checkpoint.pt")
    change(content)
    torch.save(content, stopped / "checkpoint.pt")
    with pytest.raises(InputError, match="the checkpoint is damaged") as error:
        go(root, stopped, method="baseline", resume=True)
    assert error.value.where == str(stopped / "checkpoint.pt")


def test_weights_that_are_not_finite_are_refused(stopped: Path) -> None:
    path = stopped / "checkpoint.pt"
    content = read_checkpoint(path)
    name = next(name for name, tensor in content["model"].items() if tensor.is_floating_point())
    content["model"][name] = torch.full_like(content["model"][name], float("nan"))
    torch.save(content, path)
    with pytest.raises(InputError) as error:
        load_model(path)
    one_line(error, path, f"{name} holds values that are not finite")


# An encoder from image-level categories


def tinted(count: int, *, categories: int = 4, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Noise whose tint tells its only category, 1..categories."""
    rng = np.random.default_rng(0)
    label = np.arange(count) % categories
    tint = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]])[label]
    images = tint[:, None, None] + rng.integers(0, 50, size=(count, side, side, 3))
    return images.astype(np.uint8), np.eye(categories + 1, dtype=bool)[label + 1]


@pytest.mark.parametrize("several", [False, True])
def test_pretraining_learns_to_name_images(several: bool) -> None:
    images, targets = tinted(80)
    if several:  # a second category in some images takes the logistic loss
        targets[::5, 4] = True
    losses: list[float] = []
    settings = Pretraining(backbone="resnet18w32", epochs=10, batch_size=16)
    encoder, accuracy = pretrain(
        settings, images, targets, held_out=16, report=lambda step, steps, loss: losses.append(loss)
    )
    assert losses[-1] < 0.5 * (np.log(4) if not several else np.log(2))
    assert accuracy > 0.9
    assert isinstance(encoder, Encoder)


def test_the_accuracy_of_pretraining_is_that_on_images_held_out() -> None:
    images, targets = tinted(200)
    targets[100:] = np.roll(targets[100:], 1, axis=1)  # named wrongly, all of them, where it is not trained
    targets[100:, 1] |= targets[100:, 0]
    targets[100:, 0] = False
    settings = Pretraining(backbone="resnet18w32", epochs=6, batch_size=16)
    _, accuracy = pretrain(settings, images, targets, held_out=100)
    assert accuracy < 0.1


def test_an_encoder_comes_back_from_its_file_with_its_making(tmp_path: Path) -> None:
    images, targets = tinted(24)
    settings = Pretraining(backbone="resnet18w32", epochs=1, batch_size=8)
    encoder, _ = pretrain(settings, images, targets, held_out=8)
    path = tmp_path / "encoder.safetensors"
    made = {"backbone": "resnet18w32", "source": "tinted noise", "accuracy": "50.0"}
    write_encoder(encoder, path, made)
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata() == made
    again = Encoder("resnet18w32")
    load_encoder(again, "resnet18w32", path)
    for name, tensor in encoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)


def test_pretraining_that_runs_away_says_so() -> None:
    images, targets = tinted(24)
    settings = Pretraining(backbone="resnet18w32", epochs=2, batch_size=8, lr=1e30)
    with pytest.raises(WorkError, match="pretraining step 3: the loss is not finite"):
        pretrain(settings, images, targets, held_out=8)


def test_too_few_images_for_a_batch_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="24 images do not fill a batch of 25"):
        go(root, tmp_path, "baseline", scale=replace(TINY, batch_size=25))
