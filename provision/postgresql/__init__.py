"""The site's PostgreSQL: what it should hold, and how it differs from what it holds."""
