"""What was handed to the Celery workers of a queue and may wait there: it is not sent again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import Handout
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias, retrying

#: A due run: its primary key, its queue, and since when it is due.
Due = tuple[int, str, datetime]


def take_handouts(due: Iterable[Due], is_drained: Callable[[str], bool]) -> dict[str, list[int]]:
    """Return those of the due runs that have to be handed out now, by queue, and note that.

    All that are due, where nothing waits in the queue (``is_drained`` tells) or what does has
    expired; else those that have become due since the last time. Of several who ask at once, one
    gets them.
    """
    now = clock().now()
    queues: dict[str, list[Due]] = defaultdict(list)
    for run in due:
        queues[run[1]].append(run)
    known = {last.queue: last for last in Handout.objects.using(alias()).filter(queue__in=queues)}
    found: dict[str, list[int]] = {}
    for queue, runs in queues.items():
        last = known.get(queue)
        fresh = [run for run in runs if last is None or run[2] > last.up_to]
        is_whole = last is None or (len(fresh) < len(runs) and _may_repeat(last, now, is_drained))
        chosen = runs if is_whole else fresh
        if chosen and _note(queue, last, now, is_whole=is_whole):
            found[queue] = [run[0] for run in chosen]
    return found


@retrying
def forget_handouts(queues: Iterable[str]) -> None:
    """Have all that is due in these queues handed out again: it could not be sent."""
    Handout.objects.using(alias()).filter(queue__in=list(queues)).delete()


def _may_repeat(last: Handout, now: datetime, is_drained: Callable[[str], bool]) -> bool:
    expires = timedelta(seconds=get_settings().CELERY_EXPIRES)
    return bool(now - last.since >= expires) or is_drained(last.queue)


@retrying
def _note(queue: str, last: Handout | None, now: datetime, *, is_whole: bool) -> bool:
    """Write down that runs are handed out now; return False where another was faster."""
    handouts = Handout.objects.using(alias())
    if last is None:
        times = {"up_to": now, "since": now}
        return handouts.get_or_create(queue=queue, defaults=times)[1]
    since = now if is_whole else last.since
    unchanged = handouts.filter(pk=last.pk, up_to=last.up_to)
    return unchanged.update(up_to=now, since=since) == 1
