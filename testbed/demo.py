"""The main job on real parts, live in the terminal: 0 -> 1 -> 5 -> 0 with the reason of each decision."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.stage import Stage, install_crd

if TYPE_CHECKING:
    from testbed.stage import Consumer, Wakegate

PARTITIONS = 5
RECORDS = 500
COOLDOWN_SECONDS = 8
LONGEST_SECONDS = 150.0
TICK_SECONDS = 0.25
BAR = 20


class Timeline:
    """One line whenever something changed: time, lag, replicas, decision, reason."""

    def __init__(self, consumer: Consumer, wakegate: Wakegate) -> None:
        self._consumer = consumer
        self._wakegate = wakegate
        self._begin = time.monotonic()
        self._shown: object = None
        sys.stdout.write(f"\n{'time':>7}  {'lag':>4} {'':{BAR}}  {'replicas':8}  decision\n")

    def look(self, note: str = "") -> int:
        """Print a line where there is news (or a note), and return the replicas."""
        replicas, ready = self._consumer.replicas(), self._consumer.ready()
        state = self._consumer.scale_target()
        lag = self._lag()
        reason = str(state.get("reason", ""))
        shown = (replicas, ready, reason, lag // max(1, RECORDS // BAR))
        if shown != self._shown or note:
            self._shown = shown
            bar = "#" * min(BAR, -(-lag * BAR // RECORDS))
            said = note or (f"{reason}: {state.get('message', '')}" if reason else "no decision yet")
            elapsed = time.monotonic() - self._begin
            sys.stdout.write(f"{elapsed:6.1f}s  {lag:4d} {bar:{BAR}}  {ready}/{replicas} ready  {said}\n")
            sys.stdout.flush()
        return replicas

    def until(self, replicas: int) -> bool:
        """Show what happens until there are this many replicas; tell whether it came to that in time."""
        while self.look() != replicas:
            if time.monotonic() - self._begin > LONGEST_SECONDS:
                self.look(f"not at {replicas} replicas after {LONGEST_SECONDS:g} s: something is wrong")
                return False
            time.sleep(TICK_SECONDS)
        return True

    def _lag(self) -> int:
        lines = self._wakegate.get("/metrics")[1].splitlines()
        found = [line for line in lines if line.startswith("wakegate_target_lag{")]
        return int(float(found[0].rsplit(" ", 1)[1])) if found else 0


def run() -> int:
    """Play it once; 0: it went 0 -> 1 -> 5 -> 0 and consumed every record."""
    sys.stdout.write("starting Kafka, etcd, the API server, the HPA controller and Jaeger (some seconds)\n")
    with Testbed(TestbedOptions(hpa=HpaFlags(sync_period="5s"))) as bed:
        install_crd(bed)
        stage = Stage.on(bed)
        wakegate = stage.wakegate()
        wakegate.start()
        consumer = stage.consumer(
            partitions=PARTITIONS,
            work_milliseconds=100,
            cooldown_period=str(COOLDOWN_SECONDS),
            polling_interval="5",
        )
        timeline = Timeline(consumer, wakegate)
        timeline.look("an annotated Deployment with one replica; its topic is quiet")
        played = timeline.until(0)
        timeline.look("one record is produced")
        stage.produce(consumer)
        played = played and timeline.until(1)
        timeline.look(f"{RECORDS} more records are produced")
        stage.produce(consumer, RECORDS)
        played = played and timeline.until(PARTITIONS) and timeline.until(0)
        consumed = consumer.consumed()
        verdict = "0 -> 1 -> 5 -> 0" if played else "it did not play to the end"
        sys.stdout.write(
            f"\n{verdict}; {RECORDS + 1} records produced, {consumed} consumed; HPA controller: the real one\n"
        )
        return 0 if played and consumed == RECORDS + 1 else 1
