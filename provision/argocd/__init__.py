"""What the components ``argocd`` and ``platform`` are made of."""
