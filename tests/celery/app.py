"""The Celery app of the processes, as a project writes it; the broker comes from outside."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("tests", broker=os.environ["FLOWCONTROL_TEST_BROKER"])
app.conf.task_default_queue = os.environ["FLOWCONTROL_TEST_QUEUE"]
app.conf.worker_prefetch_multiplier = 1
app.autodiscover_tasks()
