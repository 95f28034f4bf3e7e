"""One file per change of schema, never edited once released."""
