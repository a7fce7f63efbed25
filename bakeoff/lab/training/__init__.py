"""What all training notebooks need besides Keras: history.csv, the checkpoint, the compute budget, and what is kept.

The modules feature_extraction and airbench are imported by their own notebooks alone, so that a change there retrains
no other network.
"""

from bakeoff.lab.training.budget import is_short, within_budget
from bakeoff.lab.training.checkpoint import Checkpoint, build_optimizer
from bakeoff.lab.training.history import History
from bakeoff.lab.training.results import (
    MODEL,
    SAMPLE,
    SUMMARY,
    Training,
    best_epoch,
    diverged_epoch,
    load_trained,
    open_training,
    sample_predictions,
    save_training,
)

__all__ = [
    "MODEL",
    "SAMPLE",
    "SUMMARY",
    "Checkpoint",
    "History",
    "Training",
    "best_epoch",
    "build_optimizer",
    "diverged_epoch",
    "is_short",
    "load_trained",
    "open_training",
    "sample_predictions",
    "save_training",
    "within_budget",
]
