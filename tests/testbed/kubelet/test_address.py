"""Where a Pod is reached."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from testbed.kubelet.address import pod_ip


@given(st.text())
def test_a_pod_has_a_loopback_address_of_its_own(uid: str) -> None:
    """Any uid gives one address of 127.0.0.0/8, always the same, outside 127.0.0.0/16, which is the machine's."""
    address = ipaddress.ip_address(pod_ip({"metadata": {"uid": uid}}))
    assert address.is_loopback
    assert address not in ipaddress.ip_network("127.0.0.0/16")
    assert str(address) == pod_ip({"metadata": {"uid": uid}})


def test_pods_differ() -> None:
    """A thousand Pods have a thousand addresses."""
    assert len({pod_ip({"metadata": {"uid": f"uid-{number}"}}) for number in range(1000)}) == 1000
