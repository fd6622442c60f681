"""What the ``kubernetes`` phase knows of kubeadm: its configuration, its files, who does what."""
