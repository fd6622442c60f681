"""Take Cilium off a machine, for the module ``cilium_leftovers``. Standard library only."""
