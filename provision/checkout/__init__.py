"""The site's own Git repository as it lies beside the site file."""
