"""
What principals may do: ACLs, and the rights that requests need.
"""
