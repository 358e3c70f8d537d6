"""The engine behind the package ``flowcontrol``; projects and plugins import that one."""
