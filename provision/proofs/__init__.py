"""What ``provision verify`` proves, one module a subject."""
