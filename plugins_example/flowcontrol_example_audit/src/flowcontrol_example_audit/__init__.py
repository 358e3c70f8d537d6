"""A Flowcontrol plugin that ships a model, a migration and an AppConfig."""
