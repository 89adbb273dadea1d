"""The steps from each schema of the studio's database to the next; ``store.migrate`` runs them."""
