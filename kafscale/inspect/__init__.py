"""
``kafscale-inspect``: what a namespace holds, and whether it is whole.

It only reads, and may do so while a broker runs. Like `kafscale.tap` it joins
rooms: the log's layouts, and the stores that they are in.
"""
