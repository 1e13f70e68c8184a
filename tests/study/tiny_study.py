"""The smallest study that has everything: two pretrainings, two tasks, two seeds, seconds on one core."""

from study import Study, open_study

TINY = {
    "identities": 4,
    "rated_identities": 4,
    "views": 8,
    "gender_people": 12,
    "gender_views": 2,
    "pretraining_classes": 3,
    "pretraining_views": 4,
    "pretraining_samples": 64,
    "finetuning_samples": {"gender": 64, "identity": 64},
    "explained_images": 8,
    "percents": [10.0, 50.0],
    "transfer_percents": [20.0],
    "resamples": 100,
}


def tiny_study(root, data=None, **changes) -> Study:
    """The study with single parameters changed; `root` is the folder of its store."""
    return open_study("smoke", data, root, **TINY | changes)
