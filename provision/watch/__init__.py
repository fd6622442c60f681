"""Following the site file's own repository: what a commit is, what it may do, what waits."""
