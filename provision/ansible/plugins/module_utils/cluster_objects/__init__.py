"""Keep Kubernetes objects, for the module ``cluster_objects``. Standard library only."""
