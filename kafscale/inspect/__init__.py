"""
C{kafscale-inspect}: lists and verifies what a namespace has stored.

It only reads, and may do so while a broker runs. It needs the layouts of stored
data (`kafscale.format`) and the stores that the data is in, and imports no room
of a running broker.
"""
