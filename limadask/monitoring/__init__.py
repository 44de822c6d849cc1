"""What a cluster uses, and where its time goes."""
