"""The project's own code: `logic/` holds the pipeline, `assets/` what it reads. Nothing else lies here."""
