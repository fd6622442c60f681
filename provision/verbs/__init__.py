"""What the command line's verbs do, one module each; they return data, the CLI shows it."""
