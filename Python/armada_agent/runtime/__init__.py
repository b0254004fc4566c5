"""The main process, which executes the user's code once, and the workers that it forks."""
