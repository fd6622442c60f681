"""Configuration of cluster DNS (CoreDNS): kubeadm's own, and zones that others serve."""

from __future__ import annotations

from collections.abc import Sequence

from provision.dns.offers import Forward

OWN = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
"""As kubeadm writes it (``CoreDNSConfigMap`` in its addon ``dns``)."""

FORWARD = """\
ZONE:53 {
    errors
    cache 30
    forward . SERVERS
}
"""


def corefile(forwards: Sequence[Forward]) -> str:
    """The Corefile: what is not the cluster's own is asked of the machines' resolvers.

    Parameters
    ----------
    forwards
        Zones for which other servers are asked. One that does not answer is left out until it
        does again.
    """
    stanzas = (
        FORWARD.replace("ZONE", item.zone).replace("SERVERS", " ".join(item.servers))
        for item in forwards
    )
    return OWN + "".join(stanzas)
