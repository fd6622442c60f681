"""Names and zones of a site: what components offer, and how records stand at a server."""
