"""See whether addresses are free, for the module ``free_addresses``. Standard library only."""
