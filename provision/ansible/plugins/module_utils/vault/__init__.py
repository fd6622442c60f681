"""What the module ``vault`` does on a machine."""
