"""The engine of the package ``flowcontrol``; projects and plugins import that one."""
