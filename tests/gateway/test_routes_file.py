"""The routes file: what it may say, and how each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from activator.errors import SettingsError
from gateway.admission import Limits
from gateway.cloudevents.kafka import KeyRule, RecordMode
from gateway.routes import OpenRoute, Route, Rules
from gateway.routes_file import RULE_KEYS, parse_routes, read_routes

DEFAULTS = Rules(token_file=Path("/tokens"))


def test_everything() -> None:
    """Every key has its effect, in a route, in the open route, and in the defaults that both start from."""
    table = parse_routes(
        """
defaults:
  key: subject
  maxEventBytes: 64Ki
openRoute:
  topics: [shop.*, orders]
  plain: true
  tokenFile: none
routes:
  - path: /orders
    topic: orders
  - name: payments-in
    path: /in
    host: Payments.Test
    topic: payments
    key: none
    mode: structured
    plain: false
    tokenFile: /other
    webhookOrigins: [Grid.Test]
    deliveryTimeout: 800ms
    maxEventBytes: 1024
    maxBatchBytes: 2Mi
    maxBatchEvents: 10
    maxInFlightEvents: 20
    maxInFlightBytes: 3Mi
""",
        "routes.yaml",
        DEFAULTS,
    )
    common = Rules(key=KeyRule.SUBJECT, max_event_bytes=65536, token_file=Path("/tokens"))
    assert table.open_route == OpenRoute(
        ("shop.*", "orders"), Rules(key=KeyRule.SUBJECT, max_event_bytes=65536, plain=True, token_file=None)
    )
    assert table.routes == (
        Route("orders", "/orders", "orders", rules=common),
        Route(
            "payments-in",
            "/in",
            "payments",
            "payments.test",
            Rules(
                key=KeyRule.NONE,
                mode=RecordMode.STRUCTURED,
                plain=False,
                token_file=Path("/other"),
                webhook_origins=("grid.test",),
                max_event_bytes=1024,
                max_batch_bytes=2 * 1024 * 1024,
                max_batch_events=10,
                delivery_seconds=0.8,
                limits=Limits(20, 3 * 1024 * 1024),
            ),
        ),
    )


MISTAKES = [
    ("", "routes.yaml: is empty; it must have routes, openRoute or both"),
    ("a: [", "routes.yaml:1: is not YAML"),
    ("[]", "routes.yaml:1: the file: must be a mapping with the keys defaults, routes, openRoute"),
    ("routes: []", "routes.yaml:1: the file: must have at least one entry in routes, or openRoute"),
    ("route: []", "routes.yaml:1: the file is 'route'; allowed: defaults, routes, openRoute; did you mean routes?"),
    ("routes: {}", "routes.yaml:1: routes: must be a list"),
    ("routes:\n- path: /a\n", "routes.yaml:2: routes[0].topic: is missing; every route has one"),
    ("routes:\n- topic: a\n", "routes.yaml:2: routes[0].path: is missing"),
    ("routes:\n- path: a\n  topic: a\n", "routes.yaml:2: routes[0].path is 'a'; allowed: a path that begins with /"),
    ("routes:\n- path: /a\n  topic: a b\n", "routes.yaml:3: routes[0].topic is 'a b'; allowed: a Kafka topic name"),
    ("routes:\n- path: /a\n  topic: ..\n", "routes.yaml:3: routes[0].topic is '..'; allowed: a Kafka topic name"),
    (
        "routes:\n- {path: /a, topic: a, host: 'a:80'}",
        "routes.yaml:2: routes[0].host is 'a:80'; allowed: a host name without",
    ),
    ("routes:\n- {path: /a, topic: a, name: topics}", "routes.yaml:2: routes[0].name is 'topics'; allowed: 1 to 63"),
    (
        "routes:\n- {path: /a, topic: topics}",
        "routes.yaml:2: routes[0].name: is missing; the topic's is that of the open route: give one",
    ),
    ("openRoute:\n  mode: strucured\n", "routes.yaml:2: openRoute.mode is 'strucured'; allowed: binary or structured"),
    ("openRoute:\n  modus: binary\n", "routes.yaml:2: openRoute is 'modus'; allowed: key, mode,"),
    ("openRoute:\n  modus: binary\n", "did you mean mode?"),
    ("openRoute:\n  key: id\n", "routes.yaml:2: openRoute.key is 'id'; allowed: none or subject"),
    ("openRoute:\n  plain: maybe\n", "routes.yaml:2: openRoute.plain is 'maybe'; allowed: true or false"),
    ("openRoute:\n  plain: [true]\n", "routes.yaml:2: openRoute.plain: must be a single value"),
    ("openRoute:\n  tokenFile: tokens\n", "routes.yaml:2: openRoute.tokenFile is 'tokens'; allowed: the absolute path"),
    (
        "openRoute:\n  deliveryTimeout: 2m\n",
        "routes.yaml:2: openRoute.deliveryTimeout is '2m'; allowed: a duration up to 60s",
    ),
    ("openRoute:\n  deliveryTimeout: 0s\n", "openRoute.deliveryTimeout is '0s'"),
    ("openRoute:\n  maxEventBytes: 1MB\n", "routes.yaml:2: openRoute.maxEventBytes is '1MB'; allowed: bytes, such as"),
    ("openRoute:\n  maxEventBytes: 0\n", "openRoute.maxEventBytes is '0'"),
    ("openRoute:\n  maxBatchEvents: -1\n", "openRoute.maxBatchEvents is '-1'; allowed: a whole number from 1"),
    (
        "openRoute:\n  maxEventBytes: 64Mi\n",
        "is '67108864'; allowed: at most maxInFlightBytes less 65536 for headers, which is 33488896",
    ),
    (
        "openRoute:\n  maxInFlightBytes: 4Mi\n",
        "routes.yaml:2: openRoute.maxBatchBytes is '4194304'; allowed: at most maxInFlightBytes less 65536 for headers",
    ),
    (
        "openRoute:\n  maxInFlightEvents: 999\n",
        "routes.yaml:2: openRoute.maxBatchEvents is '1000'; allowed: at most maxInFlightEvents, which is 999",
    ),
    ("openRoute:\n  topics: orders\n", "routes.yaml:2: openRoute.topics: must be a list"),
    ("openRoute:\n  topics: ['']\n", "routes.yaml:2: openRoute.topics[0]: must be a text"),
    ("openRoute:\n  key: none\n  key: subject\n", "routes.yaml:3: openRoute.key: is given twice"),
    (
        "routes:\n- {path: /a, topic: a}\n- {path: /a, topic: b}\n",
        "routes.yaml:3: routes[1].path: is the same as routes[0].path",
    ),
    (
        "routes:\n- {path: /a, topic: a}\n- {path: /b, topic: a}\n",
        "routes.yaml:3: routes[1].name: is the same as routes[0].name",
    ),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_mistake(text: str, message: str) -> None:
    """A mistake is told with its line, its value, what is allowed and the nearest right name."""
    with pytest.raises(SettingsError) as error:
        parse_routes(text, "routes.yaml", DEFAULTS)
    assert message in str(error.value)


def test_all_mistakes_at_once() -> None:
    """Each mistake has its own line in the message."""
    with pytest.raises(SettingsError) as error:
        parse_routes("openRoute:\n  key: id\n  mode: x\nroutes:\n- path: /a\n", "routes.yaml", DEFAULTS)
    assert len(str(error.value).splitlines()) == 3


def test_defaults_of_the_table_are_those_of_the_rules() -> None:
    """What the table (and so the docs) calls the default is what an empty route gets."""
    text = "openRoute:\n" + "".join(f"  {key.name}: {key.default}\n" for key in RULE_KEYS)
    assert parse_routes(text, "", Rules()).open_route == OpenRoute()


def test_no_file(tmp_path: Path) -> None:
    """A routes file that is not there is told by its name."""
    with pytest.raises(SettingsError, match=r"routes file .*nope\.yaml cannot be read"):
        read_routes(tmp_path / "nope.yaml", DEFAULTS)


def test_two_hosts_may_share_a_path() -> None:
    """A route is told apart by host and path together."""
    text = (
        "routes:\n- {path: /a, topic: a, host: a.test}\n- {path: /a, topic: b, host: b.test}\n- {path: /a, topic: c}\n"
    )
    assert len(parse_routes(text, "", DEFAULTS).routes) == 3
