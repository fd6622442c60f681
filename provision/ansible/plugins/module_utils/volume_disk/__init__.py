"""Look at a disk and format it, for the module ``volume_disk``. Standard library only."""
