"""What every codec promises; a test class per codec inherits these tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from saccade import codecs
from saccade.codecs import Codec, SetShape
from saccade.errors import CodecError
from saccade.nouns import F32, TokenSet
from saccade_testing.tokens import token_set, token_sets


class CodecContract:
    """Subclasses set ``name`` and say how far a decoded feature may be off."""

    name: str

    @property
    def codec(self) -> Codec:
        return codecs.get(self.name)

    def tolerance(self, features: F32) -> F32:
        """[K, D] or [K, 1] float32: the largest permitted absolute error."""
        raise NotImplementedError

    def is_a_layer(self, data: bytes, sets: list[TokenSet]) -> bool:
        """Whether a layer of these sets that goes on happens to be another."""
        return False

    @given(sets=token_sets())
    def test_what_is_encoded_is_decoded(self, sets: list[TokenSet]) -> None:
        decoded = self.codec.decode(self.codec.encode(sets), [SetShape.of(s) for s in sets])
        for sent, received in zip(sets, decoded, strict=True):
            np.testing.assert_array_equal(received.ids, sent.ids)
            assert received.grid == sent.grid
            assert sorted(received.order.tolist()) == list(range(len(sent.ids)))
            error = np.abs(received.features - sent.features)
            assert np.all(error <= self.tolerance(sent.features))

    @given(sets=token_sets())
    def test_the_same_tokens_give_the_same_bytes(self, sets: list[TokenSet]) -> None:
        assert self.codec.encode(sets) == self.codec.encode(sets)

    @given(sets=token_sets())
    def test_decoded_tokens_encode_to_tokens_as_near(self, sets: list[TokenSet]) -> None:
        shapes = [SetShape.of(s) for s in sets]
        once = self.codec.decode(self.codec.encode(sets), shapes)
        twice = self.codec.decode(self.codec.encode(once), shapes)
        for first, second in zip(once, twice, strict=True):
            error = np.abs(first.features - second.features)
            assert np.all(error <= self.tolerance(first.features))

    @given(sets=token_sets(), data=st.data())
    def test_a_truncated_layer_is_refused(self, sets: list[TokenSet], data: st.DataObject) -> None:
        layers = self.codec.encode(sets)
        if not layers[0]:
            return
        cut = data.draw(st.integers(0, len(layers[0]) - 1))
        with pytest.raises(CodecError):
            self.codec.decode([layers[0][:cut], *layers[1:]], [SetShape.of(s) for s in sets])

    @given(sets=token_sets(), noise=st.binary(max_size=300))
    def test_noise_is_tokens_or_a_codec_error(self, sets: list[TokenSet], noise: bytes) -> None:
        shapes = [SetShape.of(s) for s in sets]
        try:
            decoded = self.codec.decode([noise], shapes)
        except CodecError:
            return
        for received, shape in zip(decoded, shapes, strict=True):
            assert received.features.shape == (shape.count, shape.dim)
            assert np.all(np.isfinite(received.features))

    @given(sets=token_sets(), extra=st.binary(min_size=1, max_size=40))
    def test_bytes_behind_a_layer_are_refused(self, sets: list[TokenSet], extra: bytes) -> None:
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
            self.codec.decode([], [SetShape(1, 4, (1, 2, 2))])
