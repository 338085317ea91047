"""Types and rules that every other room stands on; imports nothing of the project but itself."""
