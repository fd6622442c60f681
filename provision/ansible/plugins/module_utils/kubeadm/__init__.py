"""Work with kubeadm on a machine, for the Ansible module ``kubeadm``. Standard library only."""
