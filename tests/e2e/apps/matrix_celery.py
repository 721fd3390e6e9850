"""A Celery worker for the matrix, with a broker made of files: each task in a child of its own, which ends with it."""

import os

from celery import Celery
from celery.signals import worker_ready

from tests.e2e.apps import work

folder = os.path.join(os.environ["MATRIX_DIRECTORY"], "broker")
os.makedirs(folder, exist_ok=True)
app = Celery("matrix", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": folder,
        "polling_interval": 0.02,
    },
    worker_max_tasks_per_child=1,
    worker_concurrency=2,
    worker_prefetch_multiplier=1,
    worker_proc_alive_timeout=0.5,
)
work.start()


@app.task
def task(first: int, ending: str) -> None:
    work.work(first)
    work.done(first)
    if ending == "exit":
        os._exit(0)


@worker_ready.connect
def enqueue(**_: object) -> None:
    for first in range(0, 1000, 100):
        task.delay(first, os.environ["MATRIX_ENDING"])
