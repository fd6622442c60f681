"""The bundle: everything a site installs, locked by digest, signed, in one folder."""
