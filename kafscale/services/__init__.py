"""
The APIs that clients send requests to.

The modules are named after the APIs that they answer, in a package for each kind
of thing that these are about. L{kafscale.services.groups.find_coordinator} is the
shortest example; L{kafscale.services.records.produce} and
L{kafscale.services.records.fetch} answer most requests.
"""
