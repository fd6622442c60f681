"""What the module postgresql does on a machine."""
