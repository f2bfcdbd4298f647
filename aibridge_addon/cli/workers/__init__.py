"""Several worker processes behind the same ports: `aibridge proxy --workers`.

The supervisor binds the ports and starts the workers, which inherit them; each worker is a complete
proxy. They talk in lines: the supervisor over the worker's stdin, the worker over its stdout.
"""
