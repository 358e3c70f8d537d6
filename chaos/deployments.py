"""F16: half of the workers lack a plugin, as while a new release is being rolled out."""

from __future__ import annotations

from chaos.camp import SETTINGS, Camp, create_runs, write
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.models import FlowRun, Outcome, Status
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow

PLUGIN = "builtin"


@fault("F16", "half of the workers lack a plugin")
def lack_plugin(camp: Camp, figures: Figures) -> None:
    """Those that lack it come first: they have to leave the runs to the others."""
    publish_flow(flow(write("a"), step("builtin.set_state", state={"n": 1}), write("b")))
    settings = SETTINGS | {"LEASE": 10}
    lacking = camp.start_worker(**settings | {"DISABLE_PLUGINS": [PLUGIN]})
    runs = create_runs(camp.dose.pick(200, 40, 20))
    blocked = FlowRun.objects.filter(status=Status.BLOCKED)
    camp.wait_for(blocked.exists, lacking)
    met = blocked.count()
    workers = [lacking, camp.start_worker(**settings)]
    camp.wait_until_done(*workers)
    figures.runs = len(runs)
    errored = FlowRun.objects.filter(outcome=Outcome.ERRORED).count()
    figures.promise(not errored, f"{errored} errored")
    camp.check_complete(figures)
    camp.check_once(figures, runs, "a", "b")
    figures.note = f"{met} or more were blocked for a while"
