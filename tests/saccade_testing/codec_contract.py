"""What every codec promises; a test class per codec inherits these tests."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from saccade.codecs import Codec, SetShape
from saccade.errors import CodecError
from saccade.types import F32, TokenSet
from saccade_testing.tables import every_codec
from saccade_testing.tokens import DIM, token_set, token_sets

CODECS = every_codec()
# Of any width for those that take any, and of the tables' width: both run through one contract.
FRAMES = {"f16": token_sets(), "int8z": token_sets(), "f32": token_sets()}


@st.composite
def frames(draw: st.DrawFn, name: str) -> list[TokenSet]:
    """Sets that a codec of that name takes."""
    return draw(FRAMES.get(name, token_sets(dim=DIM)))


class CodecContract:
    """Subclasses set ``name`` and say how far a decoded feature may be off."""

    name: str

    @property
    def codec(self) -> Codec:
        return CODECS.get(self.name)

    def tolerance(self, features: F32) -> F32:
        """[K, D] or [K, 1] float32: the largest permitted absolute error."""
        raise NotImplementedError

    def is_a_layer(self, data: bytes, sets: list[TokenSet]) -> bool:
        """Whether a layer of these sets that goes on happens to be another."""
        return False

    def frame(self, data: st.DataObject) -> list[TokenSet]:
        return data.draw(frames(self.name))

    @given(data=st.data())
    def test_what_is_encoded_is_decoded(self, data: st.DataObject) -> None:
        sets = self.frame(data)
        decoded = self.codec.decode(self.codec.encode(sets), [SetShape.of(s) for s in sets])
        for sent, received in zip(sets, decoded, strict=True):
            np.testing.assert_array_equal(received.ids, sent.ids)
            assert received.grid == sent.grid
            assert sorted(received.order.tolist()) == list(range(len(sent.ids)))
            error = np.abs(received.features - sent.features)
            assert np.all(error <= self.tolerance(sent.features))

    @given(data=st.data())
    def test_the_same_tokens_give_the_same_bytes(self, data: st.DataObject) -> None:
        sets = self.frame(data)
        assert self.codec.encode(sets) == self.codec.encode(sets)

    @given(data=st.data(), layers=st.integers(1, 5))
    def test_fewer_layers_are_the_first_of_all(self, data: st.DataObject, layers: int) -> None:
        sets = self.frame(data)
        assert self.codec.encode(sets, layers) == self.codec.encode(sets)[:layers]

    @given(data=st.data())
    def test_decoded_tokens_encode_to_tokens_as_near(self, data: st.DataObject) -> None:
        sets = self.frame(data)
        shapes = [SetShape.of(s) for s in sets]
        once = self.codec.decode(self.codec.encode(sets), shapes)
        twice = self.codec.decode(self.codec.encode(once), shapes)
        for first, second in zip(once, twice, strict=True):
            error = np.abs(first.features - second.features)
            assert np.all(error <= self.tolerance(first.features))

    @given(data=st.data())
    def test_a_truncated_layer_is_refused(self, data: st.DataObject) -> None:
        sets = self.frame(data)
        layers = self.codec.encode(sets)
        if not layers[0]:
            return
        cut = data.draw(st.integers(0, len(layers[0]) - 1))
        with pytest.raises(CodecError):
            self.codec.decode([layers[0][:cut], *layers[1:]], [SetShape.of(s) for s in sets])

    @given(data=st.data(), noise=st.binary(max_size=300))
    def test_noise_is_tokens_or_a_codec_error(self, data: st.DataObject, noise: bytes) -> None:
        sets = self.frame(data)
        shapes = [SetShape.of(s) for s in sets]
        try:
            decoded = self.codec.decode([noise], shapes)
        except CodecError:
            return
        for received, shape in zip(decoded, shapes, strict=True):
            assert received.features.shape == (shape.count, shape.dim)
            assert np.all(np.isfinite(received.features))

    @given(data=st.data(), extra=st.binary(min_size=1, max_size=40))
    def test_bytes_behind_a_layer_are_refused(self, data: st.DataObject, extra: bytes) -> None:
        sets = self.frame(data)
        layers = self.codec.encode(sets)
        longer = layers[-1] + extra
        assume(not self.is_a_layer(longer, sets))
        with pytest.raises(CodecError):
            self.codec.decode([*layers[:-1], longer], [SetShape.of(s) for s in sets])

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_features_that_are_not_finite_are_not_encoded(self, value: float) -> None:
        tokens = token_set([3, 5])
        tokens.features[1, 2] = value
        with pytest.raises(CodecError, match="1 of 64 features are not finite"):
            self.codec.encode([tokens])

    def test_features_out_of_range_are_not_encoded(self) -> None:
        tokens = token_set([3, 5])
        tokens.features[1, 2] = 1e30
        with pytest.raises(CodecError, match="a feature of magnitude 1e\\+30"):
            self.codec.encode([tokens])

    def test_no_layers_are_refused(self) -> None:
        with pytest.raises(CodecError, match="received 0"):
            self.codec.decode([], [SetShape(1, DIM, (1, 2, 2))])


class LayeredContract(CodecContract):
    """What a codec with layers and entropy-coded streams promises beside.

    ``rounding``: how far the codec's own integers may be from a token, beside what layers do.
    """

    rounding = 1e-3

    def coded(self, sets: list[TokenSet], layers: int) -> F32:
        """All features of the sets as the first ``layers`` give them."""
        shapes = [SetShape.of(s) for s in sets]
        decoded = self.codec.decode(self.codec.encode(sets)[:layers], shapes)
        return np.concatenate([s.features for s in decoded])

    @given(data=st.data())
    def test_a_truncated_layer_is_refused(self, data: st.DataObject) -> None:
        """Or it is what other tokens are coded to: telling those apart is the checksum's task."""
        sets = self.frame(data)
        layers, shapes = self.codec.encode(sets), [SetShape.of(s) for s in sets]
        assume(layers[0])  # no tokens may be no bytes
        cut = data.draw(st.integers(0, len(layers[0]) - 1))
        try:
            decoded = self.codec.decode([layers[0][:cut]], shapes)
        except CodecError:
            return
        whole = self.codec.decode([layers[0]], shapes)
        assert any(
            not np.array_equal(a.features, b.features) or not np.array_equal(a.ids, b.ids)
            for a, b in zip(decoded, whole, strict=True)
        )

    @given(data=st.data(), extra=st.binary(min_size=1, max_size=40))
    def test_bytes_behind_a_layer_are_refused(self, data: st.DataObject, extra: bytes) -> None:
        """Or they change the tokens: no bytes are ignored."""
        sets = self.frame(data)
        layers, shapes = self.codec.encode(sets), [SetShape.of(s) for s in sets]
        try:
            decoded = self.codec.decode([*layers[:-1], layers[-1] + extra], shapes)
        except CodecError:
            return
        features = np.concatenate([s.features for s in decoded])
        assert not np.array_equal(features, self.coded(sets, len(layers)))

    @given(data=st.data())
    def test_every_further_layer_comes_no_farther_from_any_token(self, data: st.DataObject) -> None:
        sets = self.frame(data)
        features = np.concatenate([s.features for s in sets])
        errors = [
            np.linalg.norm(self.coded(sets, n + 1) - features, axis=1)
            for n in range(len(self.codec.encode(sets)))
        ]
        for before, after in itertools.pairwise(errors):
            assert np.all(after <= before * (1 + 1e-4) + self.rounding)

    def test_further_layers_come_nearer(self) -> None:
        tokens = token_set(list(range(64)))
        layers = self.codec.encode([tokens])
        errors = [
            float(np.mean((self.coded([tokens], n + 1) - tokens.features) ** 2))
            for n in range(len(layers))
        ]
        assert len(errors) > 1
        assert np.all(np.diff(errors) < 0)

    def test_more_layers_than_there_are_are_refused(self) -> None:
        tokens = token_set([3, 5])
        layers = self.codec.encode([tokens])
        with pytest.raises(CodecError, match=f"layers, received {len(layers) + 1}"):
            self.codec.decode([*layers, b""], [SetShape.of(tokens)])

    def test_tokens_of_another_width_are_refused(self) -> None:
        tokens = token_set([3, 5], dim=DIM - 1)
        with pytest.raises(CodecError, match=f"tokens of {DIM - 1} features, .* for {DIM}"):
            self.codec.encode([tokens])
        with pytest.raises(CodecError, match=f"tokens of {DIM - 1} features, .* for {DIM}"):
            self.codec.decode([bytes(20)], [SetShape.of(tokens)])
