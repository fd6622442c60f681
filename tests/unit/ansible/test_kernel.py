from __future__ import annotations

import pytest

from provision.ansible.plugins.module_utils.site_state import kernel
from provision.ansible.plugins.module_utils.site_state.failure import WorkError


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
        ("net/ipv4/conf/eth0.100/rp_filter", "/proc/sys/net.ipv4.conf.eth0/100.rp_filter"),
    ],
)
def test_a_parameter_is_found_where_the_reader_looks(name: str, path: str) -> None:
    assert str(kernel.parameter_path(name)) == path


def test_all_refused_parameters_are_named() -> None:
    # The kernel's own version is read-only for everyone.
    with pytest.raises(WorkError) as caught:
        kernel.set_parameters({"kernel.no_such": "1", "kernel.osrelease": "0"})
    first, second = str(caught.value).splitlines()
    assert first == "sysctl kernel.no_such is unknown to this kernel"
    assert second.startswith("sysctl kernel.osrelease cannot be set to 0")
