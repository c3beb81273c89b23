"""What reads bytes that others made: one check per reader, for hypothesis in CI and for atheris by command."""
