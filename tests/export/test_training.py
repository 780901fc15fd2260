"""The recipe, at a size that takes seconds: it learns, it stops, it resumes, it exports."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saccade.bundle import Bundle
from saccade.codecs.base import SetShape
from saccade.codecs.rvq import Rvq
from saccade.codecs.rvq_table import RvqTable
from saccade.types import TokenSet
from saccade_drawn_world.bundle_writing import assemble
from saccade_drawn_world.crossing.render import render
from saccade_drawn_world.crossing.scene import PLATE_ALPHABET
from saccade_drawn_world.tiny.tiny_encoder import Encoder, EncoderConfig
from saccade_drawn_world.training import (
    evaluate,
    recipe,
    sampled_views,
    sending,
    train_detector,
    train_encoder,
    train_language,
    training_loop,
)
from saccade_drawn_world.training.data_parallel import Team, together
from saccade_drawn_world.training.encoder_targets import IGNORE, targets
from saccade_drawn_world.training.shards import (
    FIRST_TRAINING_SEED,
    GRID,
    VIEW_SIZE,
    WHOLE,
    Shard,
    make_sample,
    write_shard,
)  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few seconds."""
    folder = tmp_path_factory.mktemp("work")
    for i in range(2):
        first = FIRST_TRAINING_SEED + 12 * i
        write_shard(folder / "shards" / f"shard-{i:05d}", range(first, first + 12))
    recipe.run(_small(seconds=6), folder, ("encoder", "language", "registers", "blind"))
    return folder


def _small(seconds: float) -> recipe.Recipe:
    plan = training_loop.Plan(minutes=seconds / 60, batch=16)
    small = replace(plan, batch=4)
    return replace(
        recipe.CPU,
        encoder=plan,
        language=small,
        registers=small,
        blind=small,
        threads=1,
    )


def test_a_finished_stage_is_not_done_again(work: Path) -> None:
    steps = training_loop.load(work / "encoder.pt")["step"]
    recipe.run(_small(seconds=6), work, ("encoder",))
    assert training_loop.load(work / "encoder.pt")["step"] == steps > 0


def test_an_interrupted_stage_goes_on_from_its_checkpoint(work: Path) -> None:
    before = training_loop.load(work / "language.pt")
    recipe.run(_small(seconds=9), work, ("language",))
    after = training_loop.load(work / "language.pt")
    assert after["step"] > before["step"]
    assert after["spent_s"] > before["spent_s"]


def test_two_processes_train_one_model(work: Path, tmp_path: Path) -> None:
    """With averaged gradients: both take the same steps, whatever frames each has."""
    shutil.copytree(work / "shards", tmp_path / "shards")
    recipe.run(
        replace(_small(seconds=6), threads=2), tmp_path, ("encoder", "language", "registers")
    )
    for name in ("encoder", "language", "registers"):
        assert training_loop.load(tmp_path / f"{name}.pt")["step"] > 0
    model, _ = recipe.trained_language(tmp_path)
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def _meet(team: Team, folder: Path, weight: torch.Tensor) -> None:
    weight.requires_grad_()
    (weight * (team.rank + 1)).sum().backward()  # type: ignore[no-untyped-call]
    done = team.meet([weight], 0.25 + team.rank)
    assert weight.grad is not None
    torch.save({"grad": weight.grad, "done": done}, folder / f"{team.rank}.pt")
    with torch.no_grad():
        weight += team.rank


def test_processes_meet_in_the_mean_of_their_gradients(tmp_path: Path) -> None:
    weight = torch.ones(2, 3)
    together(3, _meet, tmp_path, weight)
    for rank in range(3):
        said = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert said["grad"].tolist() == torch.full((2, 3), 2.0).tolist()
        assert said["done"] == 0.25  # the first one's
    assert weight.tolist() == torch.ones(2, 3).tolist()  # each had its own


def test_a_run_can_begin_with_the_weights_of_another(work: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").symlink_to(work / "shards")
    nothing = replace(_small(seconds=0), start=work)
    recipe.run(nothing, tmp_path, ("encoder",))
    for one, other in zip(
        recipe.trained_encoder(work).parameters(),
        recipe.trained_encoder(tmp_path).parameters(),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_features_are_made_anew_for_other_weights(work: Path) -> None:
    shard = work / "shards" / "shard-00000"
    fresh = Encoder(EncoderConfig())
    stamp = (shard / "features.stamp").read_text()
    before = np.load(shard / "features.npy")
    train_language.cache_features(fresh, shard, "cpu", stamp)
    np.testing.assert_array_equal(np.load(shard / "features.npy"), before)
    train_language.cache_features(fresh, shard, "cpu", "other")
    assert not np.array_equal(np.load(shard / "features.npy"), before)


def test_a_finished_detector_is_not_trained_again(tmp_path: Path) -> None:
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "finished").touch()
    nothing: dict[str, Any] = {"epochs": 1, "batch": 1, "threads": 1, "device": "cpu"}
    weights = train_detector.train(tmp_path, tmp_path, **nothing, hours=None)
    assert weights == tmp_path / train_detector.BEST
    assert not weights.exists()  # nothing ran


def _batch(work: Path, size: int) -> train_language.Batch:
    return train_language.Frames(work / "shards", recipe.trained_language(work)[1], 0).batch(size)


def test_every_view_is_given_its_own_number_of_tokens(work: Path) -> None:
    batch = _batch(work, 3)
    counts = list(range(1, 1 + batch.kinds.shape[1]))
    features, ids, slots, boxes, kinds = sending.keep(batch, counts, by_score=True)
    views = np.repeat(np.arange(len(counts)), counts)
    assert boxes.shape == (3, sum(counts), 4)
    for row in range(3):
        for kept, place, view in zip(features[row], ids[row], views, strict=True):
            torch.testing.assert_close(kept, batch.features[row, view, place])
        assert slots[row].tolist() == batch.slots[row, views].tolist()
        assert kinds[row].tolist() == batch.kinds[row, views].tolist()
        best = batch.scores[row, -1].topk(counts[-1]).indices.sort().values
        assert ids[row, views == len(counts) - 1].tolist() == best.tolist()


def test_registers_stand_behind_the_patches_places(work: Path) -> None:
    batch = _batch(work, 2)
    registers = recipe.trained_registers(work)
    counts = [2] * batch.kinds.shape[1]
    features, ids, *_ = sending.condense(batch, counts, registers, "cpu")
    assert ids.tolist() == [[64, 65] * len(counts)] * 2
    last = registers(batch.features[1, -1:], batch.cls[1, -1:])[0, :2]
    torch.testing.assert_close(features[1, -2:], last)


def test_more_stages_of_quantisation_are_nearer(work: Path) -> None:
    quantised = sending.Quantiser(RvqTable.from_bytes((work / "tokens.rvq").read_bytes()))
    features = _batch(work, 3).features
    errors = [float(((quantised(features, n) - features) ** 2).mean()) for n in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_what_training_sees_quantised_is_what_rvq_decodes(work: Path) -> None:
    table = RvqTable.from_bytes((work / "tokens.rvq").read_bytes())
    rows = _batch(work, 1).features[0, 0, :9].numpy()
    ids = np.arange(9, dtype=np.int32)
    tokens = TokenSet(rows, ids, (1, 8, 8), ids)
    codec = Rvq(table)
    (decoded,) = codec.decode(codec.encode([tokens], layers=2), [SetShape.of(tokens)])
    quantised = sending.Quantiser(table)(torch.from_numpy(rows), 2 * table.per_layer)
    np.testing.assert_allclose(decoded.features, quantised.numpy(), atol=1e-3)


def test_the_run_becomes_a_bundle_that_verifies(work: Path, tmp_path: Path) -> None:
    assemble(work, tmp_path, training={"command": "test"}, accuracy={})
    bundle = Bundle.open(tmp_path)
    bundle.verify()
    assert bundle.manifest.encoder.dim == 32
    assert bundle.manifest.detector is None


def test_evaluation_counts_every_kind_of_question(work: Path) -> None:
    model, words = recipe.trained_language(work)
    found = evaluate.accuracy(
        work / "shards",
        model,
        words,
        lambda batch: sending.keep(batch, [16] * batch.kinds.shape[1], by_score=True),
        frames=8,
    )
    assert {"class", "count_people", "weather"} <= set(found)
    assert all(0 <= share <= 1 for share in found.values())


def test_learning_lowers_the_loss(work: Path, tmp_path: Path) -> None:
    data = train_encoder.Views(work / "shards", seed=0)
    batch = data.batch(16)
    assert batch["views"].shape == (16, *VIEW_SIZE, 3)
    fresh = Encoder(EncoderConfig())
    trained = recipe.trained_encoder(work)
    # What a few seconds teach for certain: features are no longer those of a random encoder.
    views = torch.from_numpy(batch["views"])
    assert not torch.allclose(fresh.eval()(views)[0], trained(views)[0], atol=0.1)


def test_samples_are_whole_frames_in_the_order_in_which_they_are_sent(work: Path) -> None:
    views = sampled_views.tokens(work / "shards")
    expected: list[str] = []
    for i in range(2):
        shard = Shard.open(work / "shards" / f"shard-{i:05d}")
        for frame in shard.frames:
            crops, near = len(frame["subjects"]), len(frame["closeups"])
            expected += ["overview", *["crop"] * crops, *["closeup"] * near]
    assert [view.kind for view in views] == expected
    folder = work / "shards" / "shard-00000"
    scores, features = np.load(folder / "scores.npy"), np.load(folder / "features.npy")
    best = int(np.argmax(scores[0]))
    assert views[0].order[0] == best
    np.testing.assert_array_equal(views[0].features[0], features[0, best].astype(np.float32))
    registers = sampled_views.condensed(work / "shards", recipe.trained_registers(work))
    assert [view.kind for view in registers] == expected
    assert registers[0].order.tolist() == list(range(8))


def test_shards_hold_what_rendering_gives(work: Path) -> None:
    shard = Shard.open(work / "shards" / "shard-00000")
    sample = make_sample(FIRST_TRAINING_SEED)
    np.testing.assert_array_equal(shard.arrays["views"][: shard.offsets[1]], sample.views)
    assert len(sample.views) == 1 + len(sample.subjects) + len(sample.closeups)
    assert shard.frames[0]["closeups"] == list(sample.closeups)


def test_a_closeup_asks_for_every_letter_in_its_order() -> None:
    seen = 0
    for seed in range(60):
        sample = make_sample(seed)
        first = 1 + len(sample.subjects)
        for slot, found in zip(sample.closeups, sample.targets[first:], strict=True):
            plate = sample.scene.vehicles[sample.subjects[slot - 1]].plate
            assert plate
            asked = {(int(n), int(c)) for n, c in zip(found.nth, found.chars, strict=True) if c > 0}
            read = [PLATE_ALPHABET[c - 1] for _, c in sorted(asked)]
            assert "".join(read) == plate == "".join(PLATE_ALPHABET[c] for c in found.crop[3:])
            assert (found.crop[:3] == IGNORE).all()
            seen += 1
    assert seen >= 15


def test_only_closeups_are_asked_to_read() -> None:
    sample = make_sample(3)
    for found in sample.targets[: 1 + len(sample.subjects)]:
        assert (found.chars == IGNORE).all()
        assert (found.crop[3:] == IGNORE).all()


def test_people_are_where_the_overview_is_asked_for_them() -> None:
    rendered = render(3)
    found = targets(rendered.scene, rendered.ids, WHOLE, None, GRID, VIEW_SIZE)
    assert found.kinds[:, -1].sum() == len(rendered.scene.pedestrians) > 0
    cells = np.flatnonzero(found.walkers)
    centres = {
        (int((p.box[1] + p.box[3]) / 32), int((p.box[0] + p.box[2]) / 32))
        for p in rendered.scene.pedestrians
    }
    assert {divmod(int(cell), 40) for cell in cells} == centres
