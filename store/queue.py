"""The queue's sending end, and the Celery settings that both ends share.

A message carries a job's id and nothing else: it says "look", the row says what. Messages are acknowledged when
they arrive, because recovery is the sweeper's and not the broker's work. A message that cannot be sent is no
error: the job is in the database, and the sweeper sends it again.

There is a queue for each urgency: somebody waits for an attack, a worker for another host of its training, nobody for
the next piece of an audit. A worker that becomes free takes from the most urgent queue that holds a message.
"""

from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError

from store.settings import Settings

TASK: Final = "multav.run_job"
_QUEUE_NAME: Final = "multav"
_CONNECT_SECONDS: Final = 2
URGENCIES: Final = {"attack": 0, "training-host": 2, "scan": 3, "audit": 3, "training": 3}
"""By a job's kind, the priority of its messages; smaller goes first. What is not here goes last."""
_LEAST_URGENT: Final = 6
_STEPS: Final = (0, 2, 3, 6)
# Somebody waits for the answer to a POST: a broker that is away is given up soon, because the sweeper sends later.
_SENDING: Final = {
    "socket_timeout": 3,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
    "connect_retries_timeout": _CONNECT_SECONDS,
}
# The second try is for a connection that died while it was idle.
_RETRY_ONCE: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Configuration of the Celery application, sending and receiving."""
    return {
        "broker_url": settings.broker_url.get_secret_value() or "memory://",
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": _QUEUE_NAME,
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_soft_shutdown_timeout": 0,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": 3600,
            "priority_steps": list(_STEPS),
            "global_keyprefix": "multav:",
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_timeout": 10,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    }


class Queue:
    """Sends messages to the workers."""

    def __init__(self, settings: Settings) -> None:
        self._app = Celery("multav", set_as_current=False)
        self._app.conf.update(celery_settings(settings))
        self._app.conf.broker_transport_options.update(_SENDING)
        self._configured = bool(settings.broker_url.get_secret_value())

    def nudge(self, job_id: str, kind: str) -> bool:
        """Tell the workers that the job of that kind waits; False when the broker is away."""
        if not self._configured:
            return False
        try:
            self._app.send_task(
                TASK,
                args=[job_id],
                priority=URGENCIES.get(kind, _LEAST_URGENT),
                retry=True,
                retry_policy=_RETRY_ONCE,
                ignore_result=True,
            )
        except (OperationalError, OSError):
            return False
        return True

    def length(self, kind: str) -> int | None:
        """How many messages wait that are as urgent as those of jobs of that kind; None when the broker is away."""
        if not self._configured:
            return None
        try:
            with self._app.connection_for_write() as connection:
                channel = connection.default_channel
                name = channel._q_for_pri(_QUEUE_NAME, URGENCIES.get(kind, _LEAST_URGENT))
                return int(channel.client.llen(name))
        except Exception:
            return None

    def ping(self) -> bool:
        """Whether the broker answers."""
        if not self._configured:
            return False
        try:
            with self._app.connection_for_write() as connection:
                connection.transport_options["max_retries"] = 0
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=_CONNECT_SECONDS)
                connection.default_channel.client.ping()
        except Exception:
            return False
        return True

    def close(self) -> None:
        """Close the connections to the broker."""
        self._app.close()
