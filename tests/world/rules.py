"""What must not happen, by name, and from when on everything must be normal again."""

from __future__ import annotations

RULES: dict[str, str] = {
    "slept-with-records": "No PATCH to idle is sent while records exist that the tail has had time to see.",
    "slept-blind": "No PATCH to idle without a complete reading that truly showed no work, taken after the scale.",
    "slept-without-lease": "No PATCH to idle arrives from who does not hold the Lease.",
    "slept-too-soon": "No PATCH to idle before the cooldown is over, since the last work, wake or foreign raise.",
    "slept-uncommitted": "No PATCH to idle where a consumer would start at latest with no commit and none kept.",
    "slept-in-rebalance": "No PATCH to idle on a reading that shows the group in rebalance.",
    "slept-unkept": "No PATCH to idle before what must outlive us is kept.",
    "overwrote": "No PATCH changes a count that somebody else wrote after it was read.",
    "out-of-bounds": "No PATCH below min (but idle, where it may be idle) or above max or the partition cap.",
    "moved-beside-the-hpa": "No PATCH between 1 and N where an HPA moves it.",
    "moved-while-paused": "No PATCH while paused.",
    "moved-in-dry-run": "No PATCH in a dry run.",
    "moved-beside-a-rival": "No PATCH while another autoscaler drives the target.",
    "slept-while-kept-awake": "No PATCH to idle while keep-awake is set.",
    "changed-unled": "No PATCH but a wake arrives from who does not hold the Lease.",
    "unexplained": "Every PATCH that was made has one evaluation with its reason.",
    "never-happened": "No evaluation tells of a PATCH that was not made.",
    "woke-unready": "No wake is sent before what its group is known to lack is committed, but after five seconds.",
    "missed-wake": "A record on a sleeping target is a PATCH within one second, while nothing is broken.",
    "not-awake": "Ten seconds after the last fault no target with work is idle (a poll more, if only that finds it).",
    "never-slept": "A target without work is put to idle once its cooldown is over and what outlives us can be kept.",
    "restless": "In the last ten minutes, with no record and no fault, nothing is written but late sleeps: no count, "
    "no HPA, nothing to be kept.",
    "not-looked-at": "Every target is read at least once per polling interval by every process that runs: none hangs.",
    "given-back-short": "A target that is managed no more has no fewer replicas than it came with, or min.",
    "hpa-wrong": "Once all is quiet, each target has the HPA that its policy asks for, or none.",
    "refused-by-ourselves": "The last check before a PATCH never finds anything: what it refuses is a defect.",
    "skipped": "No record is skipped over a sleep.",
    "read-again": "No record is read again over a sleep.",
    "broke": "Nothing raises what nobody foresaw.",
}
FORBIDS = {"paused": "moved-while-paused", "dry-run": "moved-in-dry-run", "rival": "moved-beside-a-rival"}
"""What no PATCH may pass, and the rule that one breaks."""
GRACE_SECONDS = 10.0
"""Everything is normal so long after the last fault."""
