"""What a step reads is checked in the worker that runs it, once a file version: no other step waits for it."""

from __future__ import annotations

from collections.abc import Iterable

from bakeoff.errors import DamagedInputError
from bakeoff.plan.steps import Name
from bakeoff.run.execute import Job, Made, execute
from bakeoff.store import Store


def execute_checked(job: Job, store: Store, parents: Iterable[Name]) -> Made:
    """Execute a job whose parents' files are the recorded ones; DamagedInputError names the first that is not."""
    digests = store.digests()
    for stage, key in parents:
        bad = store.first_bad_file(stage, key, digests=digests)
        if bad:
            raise DamagedInputError(job.stage, None, f"{stage} has a damaged file ({bad})", (stage, key))
    return execute(job)
