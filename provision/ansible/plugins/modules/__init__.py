"""Modules: they run on the machines."""
