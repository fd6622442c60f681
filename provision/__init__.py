"""provision: bare machines in, a highly available Kubernetes with its services out."""
