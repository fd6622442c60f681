"""Plugins for Ansible; ``ansible.cfg`` names their folders."""
