"""The actions. A fault happens at the first attempt only, except ``poison`` and ``raise``."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import forms
from django.db import transaction

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.registry import Trigger
from tests.effects.models import Effect
from tests.shop.models import Customer


class LabelForm(forms.Form):
    """``label`` is for the test to tell steps apart; ``fault`` says what goes wrong, and where."""

    label = forms.CharField()
    fault = forms.CharField(required=False)
    #: The longest time in seconds that the step stays at it once its effect is there.
    linger = forms.FloatField(required=False)


def record(run: RunContext, obj: Any, label: str, *, using: str | None = None) -> None:
    Effect.objects.using(using).create(
        run=run.uuid,
        label=label,
        object_key="" if obj is None else str(obj.pk),
        worker=os.getpid(),
        attempt=run.attempt,
        idempotency_key=run.idempotency_key,
    )


def linger(config: Any) -> None:
    if config.linger:
        time.sleep(random.uniform(0, config.linger))


def raise_if_asked(config: Any) -> None:
    if config.fault == "raise":
        raise RuntimeError("as it was asked to")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Write(BaseAction):
    """Writes its effect in the transaction of the checkpoint."""

    name = "write"
    effects = Effects.DATABASE
    Config = LabelForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        fault = config.fault if run.attempt == 1 else ""
        if fault == "die_before_effect":
            die()
        record(run, obj, config.label)
        linger(config)
        raise_if_asked(config)
        if fault == "die_after_effect" or config.fault == "poison":
            die()
        if fault == "die_after_commit":
            transaction.on_commit(die)
        if fault == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if fault == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)


class Increase(BaseAction):
    """Reads the number that its customer has for a phone, and writes the next one."""

    name = "increase"
    effects = Effects.DATABASE
    Config = LabelForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        number = int(obj.phone or 0)
        linger(config)
        Customer.objects.filter(pk=obj.pk).update(phone=str(number + 1))
        record(run, obj, config.label)


class Call(BaseAction):
    """Writes its effect at once and for good, as a service outside would."""

    name = "call"
    effects = Effects.EXTERNAL
    Config = LabelForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        fault = config.fault if run.attempt == 1 else ""
        record(run, obj, config.label)
        linger(config)
        raise_if_asked(config)
        if fault == "die_after_call":
            die()
        if fault == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)


class Hold(BaseAction):
    """Waits for a month, or until an operator has the run continue."""

    name = "hold"
    effects = Effects.NONE

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        return run.suspend(until=run.now + timedelta(days=30))


class DozeForm(forms.Form):
    seconds = forms.FloatField()


class Doze(BaseAction):
    """Waits for some seconds."""

    name = "doze"
    effects = Effects.NONE
    Config = DozeForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        return run.suspend(until=run.now + timedelta(seconds=config.seconds))


class Rest(BaseAction):
    """Does nothing."""

    name = "rest"
    effects = Effects.NONE

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        return None


class Listen(BaseAction):
    """Waits until the trigger is fired for its object."""

    name = "listen"
    effects = Effects.NONE

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        return run.suspend(trigger=TOLD.key)

    def waits_for(self, config: BoundConfig) -> Iterable[str]:
        return [TOLD.key]


class NapForm(LabelForm):
    """``deaf`` is whether the step goes on whatever is raised in it."""

    seconds = forms.FloatField()
    deaf = forms.BooleanField(required=False)


class Nap(BaseAction):
    """Calls something that takes its time, and then has its effect."""

    name = "nap"
    effects = Effects.EXTERNAL
    Config = NapForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        until = time.monotonic() + config.seconds
        while (left := until - time.monotonic()) > 0:
            try:
                time.sleep(left)
            except Exception:
                if not config.deaf:
                    raise
        record(run, obj, config.label)


class Tell(BaseAction):
    """Tells the customer whose key is the phone number of its own, in a step with an effect."""

    name = "tell"
    effects = Effects.DATABASE
    Config = LabelForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        TOLD.fire(Customer.objects.get(pk=obj.phone))
        record(run, obj, config.label)
        linger(config)


TOLD = Trigger(name="told", label="Told", model="shop.customer", key="effects.told")
ACTIONS = (Write, Increase, Call, Hold, Doze, Rest, Listen, Nap, Tell)
TRIGGERS = (TOLD,)
