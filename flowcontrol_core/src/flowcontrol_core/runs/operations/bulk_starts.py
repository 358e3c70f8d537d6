"""Starting a flow for many objects: at once for a few, as a bulk operation for more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    models,
    router,
    transaction,
)
from django.utils.translation import gettext

from flowcontrol_core.bounds import ACTOR_CHARACTERS
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import decode, encode, normalize
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import (
    FlowcontrolError,
    NotStartedError,
    raise_interruption,
)
from flowcontrol_core.models import BulkOperation, Flow
from flowcontrol_core.runs.execution.start import check_startable, create_flowrun, get_flow
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias, retrying
from flowcontrol_core.texts import storable_text

#: The errors of the database that are about one run or object, not about the database.
OWN = (DataError, IntegrityError)
logger = logging.getLogger("flowcontrol.runs")
#: The most objects of one operation: their keys are stored.
MOST_OBJECTS = 10_000
#: Why something was not done: ``{"code", "values"}``, empty where it was.
Refusals: TypeAlias = list[dict[str, Any]]


def start_for_each(
    flow: Flow | str,
    objects: Iterable[models.Model],
    state: Mapping[str, Any] | None = None,
    *,
    by: Any = "",
    reason: str = "",
) -> BulkOperation:
    """Create a run for each of these objects now; return the counts, unsaved.

    For a page of objects. Raises as ``start_in_bulk`` does. An error that is a bug is logged and
    raised on.
    """
    found, listed = get_flow(flow), list(objects)
    check_startable(found, None, depth=0)
    operation = _operation(found, [], state, by, reason)
    refusals = [refusal for obj in listed for refusal in retrying(_start)(operation, found, obj)]
    operation.done, operation.refused = len(listed) - len(refusals), len(refusals)
    operation.refusals = counted([], refusals)
    operation.total = len(listed)
    return operation


def start_in_bulk(
    flow: Flow | str,
    model: type[models.Model],
    keys: Sequence[Any],
    state: Mapping[str, Any] | None = None,
    *,
    by: Any = "",
    reason: str = "",
) -> BulkOperation:
    """Have a run created for each object with one of these primary keys; the sweeps do it.

    Raises NotStartedError for a flow that starts nothing, UnknownFlowError, StateError, and
    FlowcontrolError for more than 10,000 objects.
    """
    found = get_flow(flow)
    check_startable(found, None, depth=0)
    if len(keys) > MOST_OBJECTS:
        text = gettext("At most %(most)d objects fit into one bulk operation.")
        raise FlowcontrolError(text % {"most": MOST_OBJECTS})
    operation = _operation(found, [str(key) for key in keys], state, by, reason)
    operation.filters = {"object_type": model._meta.label_lower}
    operation.save(force_insert=True, using=alias())
    return operation


def _operation(
    flow: Flow, keys: list[str], state: Mapping[str, Any] | None, by: Any, reason: str
) -> BulkOperation:
    values = State(state, max_bytes=get_settings().STATE_MAX_BYTES).peek()
    return BulkOperation(
        operator_action=BulkOperation.START,
        arguments={"flow": flow.key, "state": encode(normalize(values)), "objects": keys},
        up_to=len(keys),
        total=len(keys),
        actor=storable_text(by, ACTOR_CHARACTERS),
        note=storable_text(reason),
        created_at=clock().now(),
    )


def starter(
    operation: BulkOperation, keys: Sequence[str]
) -> Callable[[BulkOperation, str], Refusals]:
    """Return what creates the run for one of these objects, which are read with one query.

    Raises FlowcontrolError where the model is gone, and UnknownFlowError.
    """
    flow = get_flow(operation.arguments["flow"])
    label = operation.filters["object_type"]
    try:
        model = apps.get_model(label)
    except LookupError as error:
        text = gettext("The model %(model)s is no longer installed.")
        raise FlowcontrolError(text % {"model": label}) from error
    objects = _read(model, keys)

    def start(operation: BulkOperation, key: str) -> Refusals:
        obj = objects.get(key)
        if obj is None:
            text = gettext("The object no longer exists.")
            return [{"code": "gone", "values": {"error": text}}]
        return _start(operation, flow, obj)

    return start


def _read(model: type[models.Model], keys: Sequence[str]) -> dict[str, models.Model]:
    rows = model._base_manager.using(router.db_for_write(model))
    valid = []
    for key in keys:
        try:
            valid.append(model._meta.pk.to_python(key))
        except ValidationError:
            continue
    return {str(pk): obj for pk, obj in rows.in_bulk(valid).items()}


def _start(operation: BulkOperation, flow: Flow, obj: models.Model) -> Refusals:
    """Create the run for one object; return why it was refused, if so."""
    state = decode(operation.arguments["state"])
    try:
        with transaction.atomic(using=alias()):
            create_flowrun(flow, obj, state, by=operation.actor, reason=operation.note)
    except NotStartedError as error:
        return [{"code": error.reason, "values": {"error": str(error)}}]
    except FlowcontrolError as error:
        return [{"code": "error", "values": {"error": str(error)}}]
    except BaseException as error:
        raise_interruption(error)
        if not isinstance(error, DatabaseError | InterfaceError) or isinstance(error, OWN):
            logger.exception("The flow %s could not be started for an object.", flow.key)
        raise
    return []


def counted(known: Sequence[Mapping[str, Any]], refusals: Refusals, most: int = 20) -> list[Any]:
    """Return the refusals with new ones counted to those of the same kind."""
    found = [dict(refusal) for refusal in known]
    for refusal in refusals:
        same = [each for each in found if refusal.items() <= each.items()]
        if same:
            same[0]["count"] += 1
        elif len(found) < most:
            found.append({**refusal, "count": 1})
    return found
