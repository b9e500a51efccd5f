"""Pipeline steps, one a file: paths in, one call into `homing`, paths out.

Each is a lightweight Kubeflow component. The same definition runs as a local process and as a container of the image
in `components.image`; the function itself is `component.python_func`.
"""
