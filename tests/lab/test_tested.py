from pathlib import Path

import numpy as np
import pytest

from bakeoff.lab import files
from bakeoff.lab.tested import read_losses, read_predictions, summary

IDS = np.array(["test_more_2", "é/1.png", "test_10", "test_9"])
LABELS = np.array([2, 0, 1, 1])
PROBABILITIES = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.0, 1.0, 0.0]], np.float32)
LOSS = "categorical_crossentropy"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    files.write_npz(tmp_path / "whole.npz", ids=IDS, labels=LABELS, probabilities=PROBABILITIES)
    return tmp_path / "whole.npz"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_summary_is_read_as_the_predictions_are(whole: Path, smoothing: float) -> None:
    short = whole.with_name("short.npz")
    np.savez_compressed(short, **summary(whole, LOSS, smoothing))  # type: ignore[arg-type]
    one, other = (read_predictions([path], np.array([0.75])) for path in (whole, short))
    assert one and other and one.same_images(other) and np.array_equal(one.predicted, other.predicted)
    assert other.ids.tolist() == sorted(IDS.tolist())
    np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-3)
    first, second = (read_losses([path], LOSS, smoothing) for path in (whole, short))
    assert first is not None and second is not None
    np.testing.assert_allclose(first, second, atol=2e-3)


def test_without_a_loss_there_are_no_losses(whole: Path) -> None:
    assert set(summary(whole, None, None)) == {"ids", "labels", "said", "confidence"}
