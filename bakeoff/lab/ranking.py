"""What a limited training must have been shown to be ranked."""

# Training images shown, all epochs together, by which a limited run is long enough to rank: about the tenth part of a
# pass over CIFAR-10. Images and not optimizer steps, which would rank networks by their batch size.
MINIMUM_SHOWN = 5000
# Of data without a test split: an override that cuts no training.
HELD_OUT = "tested on a held-out fifth of the training images"


def is_cut(limited: str) -> bool:
    """Whether these overrides, as results.csv has them, leave a training another one than was published."""
    return bool(set(limited.split("; ")) - {"", HELD_OUT})
