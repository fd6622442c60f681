"""What modules share; it travels to the machines with them."""
