"""Merged tokens: their mean features, and the places of several members as PPE defines them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from saccade.types import I32
from saccade_cloud.engines.base import I64
from saccade_cloud.positions import TextRun, VisualRun, positions
from saccade_testing.parity import (
    ENGINE,
    FAMILIES,
    STEPS,
    Families,
    assert_same,
    picture,
    run,
    turn,
)
from saccade_testing.reference_model import Asked, ReferenceModel, Visual, dropping

QUESTION = "what is in region 1? Grüße"
MROPE = {"qwen2-vl": "mrope", "qwen2.5-vl": "mrope", "qwen3-vl": "mrope-interleaved"}
MEMBERS = 2


def merged(reference: ReferenceModel, asked: Asked, owners: I32) -> Asked:
    """Each kept token is the mean of those that it owns."""
    visual = reference.visual(asked)
    kept = np.unique(owners)
    embeds = visual.embeds.copy()
    deepstack = None if visual.deepstack is None else visual.deepstack.copy()
    for owner in kept:
        own = owners == owner
        embeds[owner] = visual.embeds[own].mean(axis=0)
        if deepstack is not None and visual.deepstack is not None:
            deepstack[:, owner] = visual.deepstack[:, own].mean(axis=1)
    means = replace(asked, replaced=Visual(visual.places, embeds, deepstack))
    return dropping(means, np.delete(visual.places, kept))


def some_owners(count: int) -> I32:
    """Of ``count`` tokens a quarter is kept; each other one belongs to one of these."""
    generator = np.random.default_rng(5)
    kept = np.sort(generator.choice(count, max(count // 4, 1), replace=False))
    owners = generator.choice(kept, count).astype(np.int32)
    owners[kept] = kept
    return owners


def compare(families: Families, family: str, asked: Asked) -> None:
    reference = families.reference(family)
    expected = reference.generate(asked, STEPS)
    (told,) = run(families.engine(family), [reference.prompt(asked)], [expected])
    assert_same(told, expected, reference.scores(asked, expected), ENGINE[torch.float32])


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_tokens_at_the_place_of_the_kept_one(families: Families, family: str) -> None:
    reference = families.reference(family)
    shown = picture(60, 130)
    asked = reference.ask([turn("user", shown, QUESTION)], [shown])
    compare(families, family, merged(reference, asked, some_owners(visual_count(reference, asked))))


@pytest.mark.parametrize("family", MROPE)
def test_merged_tokens_at_the_places_of_several_members(families: Families, family: str) -> None:
    reference = families.reference(family)
    shown = picture(120, 200)
    asked = reference.ask([turn("user", shown, QUESTION)], [shown])
    owners = some_owners(visual_count(reference, asked))
    plain = merged(reference, asked, owners)
    rows = replace(plain, rows=member_rows(reference, plain, owners, MROPE[family]))
    with reference.members(MROPE[family] == "mrope-interleaved"):
        compare(families, family, rows)
        members = reference.scores(rows, [0])
    assert np.abs(members - reference.scores(plain, [0])).max() > 1e-3


def visual_count(reference: ReferenceModel, asked: Asked) -> int:
    return len(reference.visual(asked).places)


def member_rows(reference: ReferenceModel, asked: Asked, owners: I32, scheme: str) -> I64:
    """[3 * K, N] of all places; those of dropped ones are never looked at."""
    grid = asked.inputs["image_grid_thw"][0].numpy()
    merge = reference.model.config.vision_config.spatial_merge_size
    thw = (int(grid[0]), int(grid[1]) // merge, int(grid[2]) // merge)
    kept = np.unique(owners).astype(np.int64)
    places = reference.visual(asked).places
    before, after = int(places[0]), len(asked.ids) - int(places[-1]) - 1
    image = VisualRun(thw, kept, owners)
    made = positions([TextRun(before), image, TextRun(after)], scheme, members=MEMBERS).rows
    rows = np.zeros((3 * MEMBERS, len(asked.ids)), np.int64)
    rows[:, np.setdiff1d(np.arange(len(asked.ids)), asked.dropped)] = made
    return rows
