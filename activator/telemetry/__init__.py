"""What happened, as spans, metrics and log lines: each a `ports.Recorder` of its own, fed by one fan-out.

How a decision is made does not belong here. Nothing here reads a clock: moments come with the facts.

    fanout.py       one fact -> every recorder, none of which can hurt another
    holds.py        evaluations that change nothing -> one stretch
    attributes.py   the table of span attributes; docs/attributes.md is made from it
    spans.py        facts -> OpenTelemetry spans
    export.py       the OTEL_* variables -> an exporter that never slows a decision; without them nothing is imported
    metrics.py      the table of metrics, facts -> Prometheus; docs/metrics.md is made from it
    logs.py         facts -> log lines with the trace id
"""
