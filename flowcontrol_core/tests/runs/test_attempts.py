"""An action can tell that its call is a repetition, wherever in its run it stands."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontrol_core.document.tree import Step
from flowcontrol_core.models import Status

from .conftest import (
    Lab,
    WorkerDied,
    fresh,
    make_due,
    send,
    start,
    sweep,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("last", [send("last"), write("last")])
@pytest.mark.parametrize("first", [[], [send("a")], [write("a"), send("b")]])
def test_the_attempt_is_counted_after_a_checkpoint_too(
    lab: Lab, first: list[Step], last: Step
) -> None:
    attempts: list[int] = []

    def die_twice(run: Any, obj: Any) -> None:
        attempts.append(run.attempt)
        if len(attempts) < 3:
            raise WorkerDied

    run = start(*first, last)
    lab.on("last", die_twice)
    for _ in range(2):
        with pytest.raises(WorkerDied):
            sweep()
        assert fresh(run).status == Status.RUNNING
        make_due(run, lab)
    sweep()
    assert attempts == [1, 2, 3]
    assert (fresh(run).status, fresh(run).attempt) == (Status.DONE, 0)


def test_poison_after_a_checkpoint_has_no_attempt_more(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_ATTEMPTS": 2}

    def kill(run: Any, obj: Any) -> None:
        raise WorkerDied

    run = start(send("a"), send("poison"))
    lab.on("poison", kill)
    for _ in range(2):
        with pytest.raises(WorkerDied):
            sweep()
        make_due(run, lab)
    sweep()
    assert lab.calls == ["a", "poison", "poison"]
    assert "its worker died 2 times" in fresh(run).reason
