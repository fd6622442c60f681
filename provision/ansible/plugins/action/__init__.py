"""Action plugins: they run on the controller."""
