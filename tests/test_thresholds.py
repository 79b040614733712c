import cv2
import numpy as np
import pytest
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st

from carvana.masks import metrics, rle
from carvana.masks.fullsize import runs_of_logits
from carvana.results import thresholds


@given(st.integers(0, 1000), st.sampled_from([(16, 24), (40, 32), (64, 64)]), st.floats(0.1, 8))
@settings(max_examples=12, deadline=None)
def test_every_threshold_has_the_overlap_of_its_own_runs(seed, size, strength):
    random = np.random.default_rng(seed)
    mask = picture(seed)[1]
    shape = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    logits = ((shape - 0.5) * 6 + random.normal(0, 1, size)).astype(np.float32) * np.float32(strength)
    true = rle.to_runs(mask)
    slow = [metrics.overlap_of_runs(runs_of_logits(logits, threshold), true) for threshold in thresholds.THRESHOLDS]
    fast = thresholds.overlaps(logits, mask, slow[thresholds.HALF])
    for quick, exact in zip(fast, slow, strict=True):
        assert quick.true == exact.true
        # A pixel whose value is a threshold's to float32's rounding may fall to either side.
        assert quick.predicted == pytest.approx(exact.predicted, abs=3)
        assert quick.both == pytest.approx(exact.both, abs=3)
