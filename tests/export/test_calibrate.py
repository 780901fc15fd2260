"""A bundle of any kind gets codec tables from pictures, and both ends then use them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from saccade import cli, codecs
from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.codecs import SetShape
from saccade.codecs.klt import Klt
from saccade.codecs.rvq import Rvq
from saccade.errors import ConfigError, SourceError
from saccade.limits import Limits
from saccade.packet import unpack
from saccade.types import U8, Frame
from saccade_calibration.calibrate import CalibrationSettings, calibrate, held_out
from saccade_calibration.clustering import k_means, mini_batch
from saccade_calibration.distortion import shares_left, warnings
from saccade_calibration.fit_klt import fit_klt, water_level
from saccade_calibration.fit_rvq import fit_rvq
from saccade_calibration.sample_views import SampleView
from saccade_drawn_world.crossing.render import render
from saccade_edge.gate import GateSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_testing.edge_bundle import write_edge_bundle
from saccade_testing.tokens import token_set

QUICK = CalibrationSettings(entries=16, stages=4, threads=1)
FEW = ["--entries", "16", "--stages", "4", "--threads", "1"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered frames, and beside them what is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(6):
        picture = cv2.cvtColor(render(30_000 + seed).picture, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{seed}.png"), picture)
    (folder / "notes.txt").write_text("not meant as a picture")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_edge_bundle(tmp_path / "bundle")


class TestCalibrate:
    def test_both_ends_use_the_new_tables(self, bundle: Bundle, pictures: Path) -> None:
        outcome = calibrate(bundle, [pictures], QUICK)
        assert (outcome.pictures, outcome.unreadable) == (6, ())
        assert list(outcome.left) == ["klt", "rvq"]
        assert all(np.all(np.diff(left) <= 0) for left in outcome.left.values())
        fresh = Bundle.open(bundle.folder)
        fresh.verify()
        assert fresh.manifest.codecs == ("f16", "int8z", "klt", "rvq")
        assert fresh.manifest.points == ()  # no question to ask, no answer to compare
        assert fresh.digest != bundle.digest
        picture = render(31_000).picture
        sizes = {name: sent_and_received(fresh, name, picture) for name in fresh.manifest.codecs}
        assert sizes["f16"] > sizes["int8z"] > sizes["klt"] > sizes["rvq"]

    def test_the_edge_sends_no_more_layers_than_it_is_told(
        self, bundle: Bundle, pictures: Path
    ) -> None:
        calibrate(bundle, [pictures], QUICK)
        calibrated, picture = Bundle.open(bundle.folder), render(31_000).picture
        for layers in (1, 2, 9):
            settings = PipelineSettings(encode=EncodeOptions(codec="rvq"), layers=layers)
            result = Pipeline(calibrated, settings).process(Frame(picture, 0, "here", 1))
            assert result.packet is not None
            assert len(result.packet.layers) == min(layers, QUICK.stages // QUICK.stages_per_layer)

    def test_calibrating_again_gives_the_same_bundle(self, bundle: Bundle, pictures: Path) -> None:
        first = calibrate(bundle, [pictures], QUICK).manifest
        second = calibrate(Bundle.open(bundle.folder), [pictures], QUICK).manifest
        assert second == first

    def test_one_codec_leaves_the_other_as_it_is(self, bundle: Bundle, pictures: Path) -> None:
        calibrate(bundle, [pictures], QUICK)
        before = (bundle.folder / "codec/klt.bin").read_bytes()
        only = CalibrationSettings(codecs=("rvq",), entries=8, stages=2, threads=1)
        manifest = calibrate(Bundle.open(bundle.folder), [pictures / "1.png"], only).manifest
        assert (bundle.folder / "codec/klt.bin").read_bytes() == before
        assert manifest.codec_tables == {"klt": "codec/klt.bin", "rvq": "codec/rvq.bin"}

    def test_unreadable_pictures_are_left_out_and_named(
        self, bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"\x89PNG")
        command = ["export", "calibrate", str(bundle.folder), str(pictures), str(broken)]
        assert cli.main([*command, *FEW]) == 0
        said = capsys.readouterr().out
        assert f"left out: {broken} is neither" in said
        assert "of 6 pictures" in said

    def test_no_readable_picture_is_an_error_that_names_them(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        for name in ("a.png", "b.jpg"):
            (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(SourceError, match="none of 2 .*a.png.*neither PNG.*b.jpg"):
            calibrate(bundle, [tmp_path])
        assert Bundle.open(bundle.folder).digest == bundle.digest

    def test_an_empty_folder_is_an_error(self, bundle: Bundle, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(SourceError, match=r"no picture to calibrate on \(.jpeg"):
            calibrate(bundle, [tmp_path / "empty"])

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (CalibrationSettings(distortion=0), "0 distortion"),
            (CalibrationSettings(layers=9), "9 layers: 1 to 8"),
            (CalibrationSettings(stages=17), "17 stages: 1 to 16"),
            (CalibrationSettings(entries=20_000), "20000 entries: 2 to 16383"),
            (CalibrationSettings(first_entries=1), "1 entries in the first stage: 2 to 16383"),
            (CalibrationSettings(stages=2, stages_per_layer=3), "3 stages per layer: 1 to 2"),
        ],
    )
    def test_settings_that_no_table_holds_are_refused(
        self, bundle: Bundle, settings: CalibrationSettings, message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            calibrate(bundle, [], settings)


def sent_and_received(bundle: Bundle, codec: str, picture: U8) -> int:
    """Bytes of the packet that carries a picture, once it is read again."""
    settings = PipelineSettings(encode=EncodeOptions(codec=codec), gate=GateSettings(threshold=0))
    result = Pipeline(bundle, settings).process(Frame(picture, 0, "here", 1))
    assert result.packet is not None
    assert result.encoded is not None
    received = unpack(
        result.packet,
        limits=Limits.of(bundle.manifest),
        cameras=["here"],
        epoch_unix_ms=0,
        codecs=codecs.of(bundle),
    )
    for sent, got in zip(result.encoded.tokens.views, received.views, strict=True):
        np.testing.assert_array_equal(got.tokens.ids, sent.tokens.ids)
    return result.packet.ByteSize()


class TestFits:
    features = np.random.default_rng(3).normal(size=(4000, 16)).astype(np.float32)
    features = features @ np.diag(2.0 ** -np.arange(16)).astype(np.float32)

    @pytest.mark.parametrize("distortion", [0.3, 0.1, 0.01])
    def test_klt_errs_as_much_as_it_was_asked_to(self, distortion: float) -> None:
        codec = Klt(fit_klt(self.features, distortion=distortion, layers=1))
        tokens = token_set(list(range(64)), dim=16)
        tokens.features[:] = self.features[:64]
        (decoded,) = codec.decode(codec.encode([tokens]), [SetShape.of(tokens)])
        share = np.mean((decoded.features - tokens.features) ** 2) / np.mean(tokens.features**2)
        assert 0.4 * distortion < share < 1.4 * distortion

    def test_components_below_the_water_are_not_sent(self) -> None:
        table = fit_klt(self.features, distortion=0.1, layers=2)
        (base, _), (second, finer) = table.layers
        assert 0 < len(base.dims) < len(finer.dims) + len(second.dims) < 16

    def test_the_water_level_gives_the_distortion(self) -> None:
        variances = np.array([4.0, 2.0, 1.0, 0.5])
        level = water_level(variances, 0.2)
        assert np.minimum(variances, level).sum() == pytest.approx(0.2 * 7.5)

    def test_rvq_errs_less_with_every_stage(self) -> None:
        table = fit_rvq(self.features, stages=4, entries=32, per_layer=1)
        codec = Rvq(table)
        tokens = token_set(list(range(64)), dim=16)
        tokens.features[:] = self.features[:64]
        layers, shapes = codec.encode([tokens]), [SetShape.of(tokens)]
        errors = [
            np.mean((codec.decode(layers[: n + 1], shapes)[0].features - tokens.features) ** 2)
            for n in range(4)
        ]
        assert errors[3] < 0.05 * np.mean(tokens.features**2)
        assert np.all(np.diff(errors) < 0)

    def test_k_means_finds_separate_heaps(self) -> None:
        heaps = np.arange(8.0)[:, None] * 100
        points = np.repeat(heaps, 50, axis=0) + np.random.default_rng(0).normal(size=(400, 1))
        centres = k_means(points, 8, np.random.default_rng(1))
        np.testing.assert_allclose(np.sort(centres[:, 0]), heaps[:, 0], atol=1)

    def test_batches_find_what_whole_steps_find(self) -> None:
        """Within a few per cent of the distortion."""
        generator = np.random.default_rng(3)
        heaps = generator.normal(size=(40, 6)) * [30, 20, 10, 5, 5, 5]
        points = np.repeat(heaps, 100, axis=0) + generator.normal(size=(4000, 6))
        left = [
            float(
                ((points[:, None] - fit(points, 40, np.random.default_rng(1))) ** 2)
                .sum(2)
                .min(1)
                .mean()
            )
            for fit in (k_means, mini_batch)
        ]
        assert left[1] < 1.25 * left[0]

    def test_wide_tokens_are_quantised_by_their_components(self) -> None:
        generator = np.random.default_rng(3)
        parts = generator.normal(size=(3000, 12)) @ generator.normal(size=(12, 300))
        features = np.asarray(parts + 0.01 * generator.normal(size=(3000, 300)), np.float32)
        table = fit_rvq(features, stages=4, first=128, entries=64)
        assert (table.dim, table.rank) == (300, 50)
        codec = Rvq.from_bytes(table.to_bytes())
        view = SampleView("overview", np.arange(64, dtype=np.int32), features[:64])
        left = shares_left(codec, [view])
        assert left[3] < 0.2 < left[0]
        assert warnings({"rvq": left}) == ()
        assert warnings({"rvq": (0.9, 0.712)})[0].startswith("rvq leaves 71 % of the tokens'")

    def test_every_tenth_picture_is_held_out(self) -> None:
        view = SampleView("crop", np.zeros(1, np.int32), np.zeros((1, 1), np.float32))
        fit, held = held_out([[view], [view, view]] * 10)
        assert (len(fit), len(held)) == (28, 2)
        fit, held = held_out([[view], [view, view]])
        assert fit == held
        assert len(fit) == 3

    @pytest.mark.parametrize(("count", "entries"), [(2, [2, 2]), (5, [2, 2]), (160, [10, 4])])
    def test_few_tokens_get_few_entries(self, count: int, entries: list[int]) -> None:
        table = fit_rvq(self.features[:count], stages=2, entries=4)
        assert [len(stage.entries) for stage in table.stages] == entries

    def test_tokens_that_are_all_the_same_still_fit(self) -> None:
        same = np.ones((10, 4), np.float32)
        fit_rvq(same, stages=2, entries=4).to_bytes()
        fit_klt(same).to_bytes()
