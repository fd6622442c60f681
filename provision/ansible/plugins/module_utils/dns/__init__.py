"""Keeping records on a name server, on the machine; see the module ``dns_records``."""
