"""Applies a role's resolved state on the machine that this runs on.

Everything here is the standard library and runs on the machine, from Python
3.11 on. It decides nothing: the controller compared the machine with the
role's state and says what is to be done (see ``work.py``).
"""
