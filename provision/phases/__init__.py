"""The components, one module each; ``provision.plan.discover`` finds them."""
