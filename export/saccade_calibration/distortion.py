"""What a codec leaves of the tokens' variance: what to expect of it before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from saccade.codecs import Codec, SetShape
from saccade.types import TokenSet
from saccade_calibration.sample_views import SampleView, expected_tokens

# Tokens that have lost half of their variance: six stages of rvq left 71 % on a CNN's tokens, and
# a classifier on them agreed with itself on 36 % of the pictures; 27 % and less cost a tenth.
BAD_SHARE = 0.5
MOST_VIEWS = 64  # that are measured


def shares_left(codec: Codec, views: Sequence[SampleView]) -> tuple[float, ...]:
    """For each number of layers: squared error as a share of the variance around the mean."""
    some = views[:: -(-len(views) // MOST_VIEWS)]
    features = np.concatenate([view.features for view in some])
    mean = features.mean(axis=0, dtype=np.float64)
    errors = np.zeros(codec.most_layers)
    whole = 0.0
    for view in some:
        sent = _sent(view)
        whole += float(((sent.features - mean) ** 2).sum())
        layers = codec.encode([sent], kinds=[view.kind])
        shape = [SetShape.of(sent, view.kind)]
        for count in range(1, len(layers) + 1):
            (received,) = codec.decode(layers[:count], shape)
            errors[count - 1] += float(((received.features - sent.features) ** 2).sum())
    return tuple(float(share) for share in np.round(errors / max(whole, 1e-30), 4))


def warnings(shares: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """What to tell whoever calibrates, by codec whose last layer leaves too much."""
    return tuple(
        f"{name} leaves {100 * left[-1]:.0f} % of the tokens' variance with all its layers: "
        "answers will change; give it more pictures, stages or entries, or leave it out"
        for name, left in shares.items()
        if left[-1] > BAD_SHARE
    )


def _sent(view: SampleView) -> TokenSet:
    ids, features = view.first(expected_tokens(len(view.order)))
    order = np.arange(len(ids), dtype=np.int32)
    return TokenSet(features, ids, (1, 1, len(view.order)), order)
