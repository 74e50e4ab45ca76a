"""Facts -> log lines, and how log lines are written: text or JSON, each decision with its trace id."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from activator.core.model import (
    APPLIED_OK,
    BatchRead,
    Departed,
    EpisodePhase,
    Evaluation,
    Notice,
    Outcome,
    Reason,
    Severity,
    TraceIds,
)

if TYPE_CHECKING:
    from activator.core.model import Cluster, Fact, TargetRef

log = logging.getLogger("wakegate")

_LEVELS = {
    Outcome.APPLIED: logging.INFO,
    Outcome.HELD: logging.INFO,
    Outcome.REFUSED: logging.WARNING,
    Outcome.FAILED: logging.WARNING,
}


class LogRecorder:
    """`ports.Recorder` that writes one line for each decision that did or should have done something.

    A hold is told once, when it begins; looks that find the same for the same reason are in metrics and spans.
    """

    def __init__(self) -> None:
        self._held: dict[TargetRef, tuple[Outcome, Reason]] = {}
        self._unreadable: set[Cluster] = set()

    def record(self, fact: Fact) -> None:
        """Write the line of a fact, where it has one."""
        match fact:
            case Evaluation():
                self._evaluation(fact)
            case BatchRead():
                self._batch_read(fact)
            case EpisodePhase(name=""):
                self._episode(fact)
            case Departed():
                self._held.pop(fact.ref, None)
            case Notice():
                level = logging.WARNING if fact.severity is Severity.WARNING else logging.INFO
                log.log(level, "%s: %s: %s", fact.ref, fact.reason, fact.message, extra=_extra(None, target=fact.ref))

    def _evaluation(self, evaluation: Evaluation) -> None:
        reason = evaluation.decision.reason
        now = (evaluation.outcome, reason)
        before = self._held.get(evaluation.ref)
        if reason is Reason.UNMANAGED:
            self._held.pop(evaluation.ref, None)
        else:
            self._held[evaluation.ref] = now
        if evaluation.outcome in {Outcome.HELD, Outcome.REFUSED} and before == now:
            return
        seen, decided = evaluation.seen.replicas, evaluation.decision.replicas
        count = f"{seen} -> {decided}" if decided != seen else f"{seen}"
        status = evaluation.applied.status if evaluation.applied else APPLIED_OK
        log.log(
            _LEVELS[evaluation.outcome],
            "%s: %s %s (%s): %s%s",
            evaluation.ref,
            evaluation.outcome,
            count,
            reason,
            evaluation.decision.text,
            "" if status == APPLIED_OK else f"; {status}",
            extra=_extra(
                evaluation.ids,
                target=evaluation.ref,
                outcome=evaluation.outcome,
                reason=reason,
                replicas_from=seen,
                replicas_to=decided,
            ),
        )

    def _batch_read(self, read: BatchRead) -> None:
        """Tell when a cluster begins and ceases to be unreadable, not each read in between."""
        cluster = read.cluster
        if read.problem is not None and cluster not in self._unreadable:
            self._unreadable.add(cluster)
            said = "Kafka %s: %d of %d triggers cannot be read: %s; what depends on them is held"
            log.warning(
                said, cluster.bootstrap_servers, read.unreadable, read.triggers, read.problem, extra=_extra(read.ids)
            )
        elif read.problem is None and cluster in self._unreadable:
            self._unreadable.discard(cluster)
            log.info("Kafka %s: everything can be read again", cluster.bootstrap_servers, extra=_extra(read.ids))

    def _episode(self, whole: EpisodePhase) -> None:
        seconds = (whole.ended_at - whole.started_at).total_seconds()
        extra = _extra(whole.ids, target=whole.ref, episode=whole.episode, seconds=seconds)
        if whole.missing:
            missing = ", ".join(whole.missing)
            log.warning(
                "%s: %s not complete after %.0f s: no %s", whole.ref, whole.episode, seconds, missing, extra=extra
            )
        else:
            log.info("%s: %s complete after %.3f s", whole.ref, whole.episode, seconds, extra=extra)


def configure_logging(log_format: Literal["text", "json"] | str, level: str) -> None:  # noqa: PYI051 - names the two
    """Send all log lines to standard error in this form.

    Args:
        log_format: ``text`` or ``json``.
        level: debug, info, warning or error; debug is for lines of wakegate's own.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    debug = level == "debug"
    # Clients write whole requests and answers at debug, with the passwords and Secrets in them: only ours goes so far.
    root.setLevel(logging.INFO if debug else level.upper())
    for name in ("wakegate", "activator"):
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.NOTSET)
    # What clients tell of each connection is of use to whoever debugs them, and noise to everybody else.
    quiet = logging.INFO if debug else logging.WARNING
    for name in ("aiokafka", "kafka", "aiohttp", "asyncio", "kubernetes_asyncio", "urllib3"):
        logging.getLogger(name).setLevel(quiet)


class TextFormatter(logging.Formatter):
    """``2026-01-05T12:00:00.123Z INFO wakegate: message trace_id=...``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, and a traceback behind it where there is one."""
        line = f"{_moment(record)} {record.levelname} {record.name}: {record.getMessage()}"
        fields: dict[str, Any] = getattr(record, _FIELDS, {})
        ids = "".join(f" {name}={fields[name]}" for name in ("trace_id", "span_id") if name in fields)
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{line}{ids}{trace}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the line is about as fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one object."""
        fields: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


_FIELDS = "wakegate_fields"


def _extra(ids: TraceIds | None, **fields: object) -> dict[str, object]:
    traced = {"trace_id": ids.trace_id, "span_id": ids.span_id} if ids is not None else {}
    return {_FIELDS: {**fields, **traced}}


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
