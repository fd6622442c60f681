"""The controller's half of the Ansible module ``site_state``, and the plugins themselves."""
