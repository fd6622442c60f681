"""Brings a depot's content onto a machine, verifies it and takes it away.

Runs on the machine, in the module ``depot_load``; :mod:`.receive` also travels
alone, in front of the blobs that it takes from its standard input.
"""
