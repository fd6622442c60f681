"""The site's Vault: what it should hold, its keys, and how it is brought up."""
