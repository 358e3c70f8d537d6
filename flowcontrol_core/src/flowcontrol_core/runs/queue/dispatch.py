"""What happens to runs after the commit that created them; it only lowers latency.

The sweep is the guarantee: whatever is lost here is found by it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from django.db import transaction

from flowcontrol_core.conf import get_settings
from flowcontrol_core.runs.store.connection import alias

logger = logging.getLogger("flowcontrol.runtime")

Send = Callable[[Sequence[int]], None]
#: By the values of the setting DISPATCH; ``inline`` is added by the sweep, ``celery`` by the tasks.
senders: dict[str, Send] = {"sweep": lambda ids: None}


def after_commit(work: Callable[[], object]) -> None:
    """Do something once the present transaction has committed, at once if there is none.

    Its errors are logged, never raised into the code that committed.
    """
    transaction.on_commit(partial(_logged, work), using=alias(), robust=True)


def dispatch(ids: Sequence[int]) -> None:
    """Have runs executed after the commit, as the setting DISPATCH says."""
    if ids and get_settings().DISPATCH != "sweep":
        after_commit(partial(_send, ids))


def _send(ids: Sequence[int]) -> None:
    senders.get(get_settings().DISPATCH, senders["sweep"])(ids)


def _logged(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        logger.exception("Something after a commit failed; the next sweep makes up for it.")
