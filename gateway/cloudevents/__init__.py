"""CloudEvents 1.0 as pure functions: HTTP message -> `Event` -> Kafka record. No I/O, no clock, no web framework.

1. `attributes.py`   what an attribute may be called and hold
2. `event.py`        the event itself and what can be wrong with one
3. `http.py`         the HTTP protocol binding: binary, structured and batched content mode
4. `json_format.py`  the JSON event format, with the bytes of `data` kept as they came
5. `kafka.py`        the Kafka protocol binding: binary and structured content mode

No SDK stands behind it, because both common ones break rules that senders rely on: percent-encoding, the identity of an
event (a missing `id` is invented), UTF-8 strictness and the bytes of JSON data.
"""
