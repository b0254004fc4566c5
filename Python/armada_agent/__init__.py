"""What the Armada agent runs in Python: the user's code, its tasks, and what only Python can do for them."""
