"""Everything that reaches outside the process: machines, Ansible, Kubernetes, Vault."""
