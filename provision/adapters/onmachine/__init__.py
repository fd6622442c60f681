"""Code that travels to machines: standard library only, Python 3.9 or newer, writes nothing."""
