"""
What is stored: its formats, and data of earlier versions.
"""
