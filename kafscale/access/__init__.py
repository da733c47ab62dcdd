"""
For whom requests are served: authentication, authorization and quotas.
"""
