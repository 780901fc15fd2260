"""Positions equal transformers' own, and those of kept and merged tokens are slices of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2VLConfig, Qwen3VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from saccade_cloud.positions import I64, Positions, TextRun, VisualRun, positions

Runs = list[TextRun | VisualRun]
TEXT, IMAGE = 0, 1
MODELS = (
    (Qwen2VLModel, Qwen2VLConfig),
    (Qwen2_5_VLModel, Qwen2_5_VLConfig),
    (Qwen3VLModel, Qwen3VLConfig),
)
GRIDS = ((1, 4, 6), (1, 1, 1), (1, 9, 2), (1, 3, 3))


def whole(grid: tuple[int, int, int]) -> VisualRun:
    return VisualRun(grid, np.arange(np.prod(grid)))


def rope_index(model: type[torch.nn.Module], config: type[Any], runs: Runs) -> tuple[I64, int]:
    """([3, N], next position) of transformers for a prompt of whole images."""
    kinds, grids = [], []
    for run in runs:
        if isinstance(run, TextRun):
            kinds += [TEXT] * run.length
        else:
            kinds += [IMAGE] * int(np.prod(run.grid))
            grids.append((run.grid[0], run.grid[1] * 2, run.grid[2] * 2))
    bare: Any = model.__new__(model)  # the method reads nothing but the config
    torch.nn.Module.__init__(bare)
    bare.config = config()
    ids = torch.zeros((1, len(kinds)), dtype=torch.long)
    rows, delta = bare.get_rope_index(
        ids, torch.tensor([kinds], dtype=torch.int), image_grid_thw=torch.tensor(grids)
    )
    return rows[:, 0].numpy(), len(kinds) + int(delta)


def prompt(*kept: I64 | None) -> Runs:
    """Texts around an image of each grid; ``kept`` of them, None for all."""
    runs: Runs = [TextRun(5)]
    for number, (grid, ids) in enumerate(zip(GRIDS, kept, strict=True)):
        runs.append(whole(grid) if ids is None else VisualRun(grid, ids))
        runs.append(TextRun(2 + number))
    return runs


@pytest.mark.parametrize(("model", "config"), MODELS, ids=lambda kind: kind.__name__)
def test_whole_images_have_the_positions_that_the_model_gives_them(
    model: type[torch.nn.Module], config: type[Any]
) -> None:
    runs = prompt(None, None, None, None)
    rows, following = rope_index(model, config, runs)
    ours = positions(runs, "mrope")
    assert np.array_equal(ours.rows, rows)
    assert ours.next_position == following


@pytest.mark.parametrize(("model", "config"), MODELS, ids=lambda kind: kind.__name__)
def test_kept_tokens_and_the_text_after_them_keep_the_model_s_positions(
    model: type[torch.nn.Module], config: type[Any]
) -> None:
    kept = (np.array([0, 7, 23]), np.array([], np.int64), np.array([17]), np.arange(9))
    rows, following = rope_index(model, config, prompt(None, None, None, None))
    columns, at = [], 0
    for run in prompt(*kept):
        size = run.length if isinstance(run, TextRun) else int(np.prod(run.grid))
        inside = np.arange(size) if isinstance(run, TextRun) else run.kept
        columns.append(at + inside)
        at += size
    ours = positions(prompt(*kept), "mrope-interleaved")
    assert np.array_equal(ours.rows, rows[:, np.concatenate(columns)])
    assert ours.next_position == following


def rows_of(ours: Positions) -> list[list[int]]:
    return [[int(value) for value in row] for row in ours.rows]


def test_sequential_positions_count_through_what_was_dropped() -> None:
    ours = positions([TextRun(2), VisualRun((1, 2, 2), np.array([1, 3])), TextRun(1)], "sequential")
    assert rows_of(ours) == [[0, 1, 3, 5, 6]]
    assert ours.next_position == 7


def test_compact_positions_close_ranks() -> None:
    runs: Runs = [TextRun(2), VisualRun((1, 3, 4), np.array([1, 3, 9])), TextRun(1)]
    assert rows_of(positions(runs, "sequential", compact=True)) == [[0, 1, 2, 3, 4, 5]]
    ours = positions(runs, "mrope", compact=True)
    assert rows_of(ours) == [[0, 1, 2, 2, 2, 4], [0, 1, 2, 2, 3, 4], [0, 1, 2, 3, 2, 4]]
    assert ours.next_position == 5


def test_a_merged_token_has_the_places_of_its_members_from_the_last_one_back() -> None:
    owners = np.array([0, 0, -1, 5, 0, 5], np.int32)  # 2 x 3: 0 of {0, 1, 4}, 5 of {3, 5}
    run = VisualRun((1, 2, 3), np.array([0, 5]), owners)
    ours = positions([TextRun(1), run, TextRun(1)], "mrope", members=4)
    t, h, w = np.split(ours.rows, 3)
    assert t.tolist() == [[0, 1, 1, 4]] * 4
    assert h[:, 1].tolist() == [2, 1, 1, 2]  # places 4, 1, 0, 4
    assert w[:, 1].tolist() == [2, 2, 1, 2]
    assert h[:, 2].tolist() == [2, 2, 2, 2]  # places 5, 3, 5, 3
    assert w[:, 2].tolist() == [3, 1, 3, 1]
    assert h[:, 3].tolist() == [4] * 4


def test_without_merging_the_rows_of_members_repeat_the_token_s_own() -> None:
    run = VisualRun((1, 2, 2), np.array([0, 3]))
    one, four = (positions([run], "mrope", members=count).rows for count in (1, 4))
    assert np.array_equal(four, np.repeat(one, 4, axis=0))


@pytest.mark.parametrize("kept", [[3, 1], [1, 1], [-1, 2], [0, 6]])
def test_kept_places_ascend_inside_the_grid(kept: list[int]) -> None:
    with pytest.raises(ValueError, match=r"ascend within 0\.\.5"):
        VisualRun((1, 2, 3), np.array(kept))
