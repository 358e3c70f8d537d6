"""What people do: customers on the site, staff in the shop, in chronological order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from django.contrib.auth.models import User

from flowcontrol import flows, runs
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow, FlowRun
from people import Person
from shop.carrier import carrier
from shop.models import Order
from world import World

#: A Friday afternoon; the clocks are put forward on the Sunday after it.
START = datetime(2026, 3, 27, 15, 0, tzinfo=ZoneInfo("Europe/Berlin"))

Chapter = Callable[[World], None]


def ada_pays_while_the_carrier_is_down(world: World) -> None:
    ada = Person("Ada", phone="+49 30 1001", newsletter=True)
    world.narrate("Ada signs up and logs in.")
    ada.sign_up()
    world.pass_time(minutes=2)
    world.narrate("Ada orders 2 x Moby-Dick and pays. The service of the carrier is down.")
    carrier.is_down = True
    ada.order("Moby-Dick", copies=2)
    ada.pay(_newest_order())
    world.pass_time(minutes=30)


def bruno_never_pays(world: World) -> None:
    bruno = Person("Bruno", phone="+49 30 1002")
    world.narrate("Bruno signs up without the newsletter, orders Middlemarch, and forgets to pay.")
    bruno.sign_up()
    bruno.order("Middlemarch")
    world.pass_time(minutes=10)


def mallory_guesses_passwords(world: World) -> None:
    mallory = Person("Mallory", phone="")
    world.narrate("Mallory submits the sign-up form without its CSRF token. The site refuses it.")
    mallory.sign_up_from_another_site()
    for _ in range(2):
        world.narrate("Mallory tries to log in as Ada with a wrong password.")
        mallory.guess_password("ada")
        world.pass_time(minutes=3)


def operator_retries_the_parcel(world: World) -> None:
    world.narrate("The carrier is available again. The operator retries the failed step.")
    carrier.is_down = False
    failed = FlowRun.objects.get(flow__key="ship-order", outcome="errored")
    runs.retry(failed, by="operator", reason="The carrier is available again.")
    world.pass_time(minutes=30)


def cleo_cancels(world: World) -> None:
    cleo = Person("Cleo", phone="+49 30 1003", newsletter=True)
    world.narrate("Cleo signs up and orders The Trial.")
    cleo.sign_up()
    cleo.order("The Trial")
    world.pass_time(minutes=20)
    world.narrate("Cleo cancels the order.")
    cleo.cancel(_newest_order())
    world.pass_time(minutes=10)


def dora_orders_a_lot(world: World) -> None:
    dora = Person("Dora", phone="+49 30 1004")
    world.narrate("Dora signs up and orders 40 x Moby-Dick. The credit check takes ten minutes.")
    dora.sign_up()
    dora.order("Moby-Dick", copies=40)
    world.pass_time(minutes=30)


def code_starts_the_digest(world: World) -> None:
    world.narrate("The code of the shop starts the nightly digest.")
    start_flowrun("nightly-digest")


def emil_signs_up_and_editor_changes_the_flow(world: World) -> None:
    emil = Person("Emil", phone="+49 30 1005", newsletter=True)
    world.narrate("Emil signs up.")
    emil.sign_up()
    world.pass_time(minutes=10)
    world.narrate(
        "The editor changes the last e-mail of the welcome series and publishes the flow."
    )
    _change_the_tips()
    fay = Person("Fay", phone="+49 30 1006", newsletter=True)
    world.narrate("Fay signs up.")
    fay.sign_up()
    world.pass_time(days=1)
    world.narrate("Emil closes the account.")
    emil.close_account()


def two_weeks_pass(world: World) -> None:
    world.pass_time(days=14)
    world.narrate("Two weeks later.")


def gus_and_hilda_have_just_ordered(world: World) -> None:
    gus = Person("Gus", phone="+49 30 1007", newsletter=True)
    world.narrate("Gus signs up and orders 3 x The Trial.")
    gus.sign_up()
    gus.order("The Trial", copies=3)
    world.pass_time(minutes=1)
    world.narrate("The operator pauses the welcome series of Gus.")
    welcome = FlowRun.objects.filter(flow__key="welcome-series").latest("pk")
    runs.pause(welcome, by="operator", reason="Gus is a friend of the house.")
    world.narrate("Hilda signs up and orders 50 x Middlemarch.")
    hilda = Person("Hilda", phone="+49 30 1008")
    hilda.sign_up()
    hilda.order("Middlemarch", copies=50)
    world.pass_time(minutes=1)


_FRIDAY: list[Chapter] = [
    ada_pays_while_the_carrier_is_down,
    bruno_never_pays,
    mallory_guesses_passwords,
]
_LATER: list[Chapter] = [
    cleo_cancels,
    dora_orders_a_lot,
    code_starts_the_digest,
    emil_signs_up_and_editor_changes_the_flow,
]
#: For the demo: every run ends.
WHOLE: list[Chapter] = [*_FRIDAY, operator_retries_the_parcel, *_LATER, two_weeks_pass]
#: For the site: one run needs the operator, others wait.
UNFINISHED: list[Chapter] = [*_FRIDAY, *_LATER, gus_and_hilda_have_just_ordered]


def play(world: World, chapters: list[Chapter]) -> None:
    """Play the chapters in their order."""
    for chapter in chapters:
        chapter(world)


def _newest_order() -> int:
    return int(Order.objects.latest("pk").pk)


def _change_the_tips() -> None:
    """Edit a step as the admin does: submit its form, save the draft, publish it."""
    flow = Flow.objects.get(key="welcome-series")
    editor = User.objects.get(username="admin")
    document = flows.present_document(flow)
    step = document.find("tips")
    assert step is not None
    typed = {**step.config, "subject": "Five books for {{ name }}"}
    data = {f"{flows.form_prefix(step.id)}-{name}": value for name, value in typed.items()}
    form = flows.step_form(step, data, document=document).form
    assert form is not None
    flows.configure_step(flow, step.id, form, revision=None, author=editor)
    flows.publish(flow, by=editor)
