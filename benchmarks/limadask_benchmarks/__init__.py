"""What ``limadask bench`` runs."""
