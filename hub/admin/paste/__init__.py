"""Server entries as other programs write them, read into drafts of our own. Pure: no file, no socket, no vault."""
