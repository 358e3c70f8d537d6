"""A worker whose checkpoints are not guarded: it shows that the tests would see it.

A test that stays green without the protection that it is about proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django
from django.core.management import call_command


def switch_the_fence_off() -> None:
    """Have this process write its checkpoints, whichever worker has the runs, and however late."""
    from flowcontrol_core.models import FlowRun
    from flowcontrol_core.runs.execution import activation, admission, checkpoint
    from flowcontrol_core.runs.store.rows import WRITTEN_COLUMNS

    def write_unguarded(runs: Sequence[FlowRun], **_: Any) -> int:
        for run in runs:
            FlowRun.objects.filter(pk=run.pk).update(
                **{name: getattr(run, name) for name in WRITTEN_COLUMNS}
            )
        return len(runs)

    class PatientBudget(activation.Budget):
        """A call that took too long fails: the fence would not be asked."""

        def __init__(self, calls: int = 0) -> None:
            super().__init__(calls)
            self.timeout = 60.0

    activation.Budget = PatientBudget  # type: ignore[misc]
    for module in (checkpoint, admission):
        assert hasattr(module, "write_guarded")
        module.write_guarded = write_unguarded  # type: ignore[attr-defined]


def main() -> None:
    django.setup()
    switch_the_fence_off()
    call_command("flowcontrol", "worker", interval=0.05)


if __name__ == "__main__":
    main()
