"""Phalanx's side of a site: what its installer is given, and what must hold before it starts."""
