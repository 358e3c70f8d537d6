"""The pages of Flowcontrol in the Django admin: the editor, the runs and health."""
