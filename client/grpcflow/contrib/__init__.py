"""What is built on the public names of grpcflow alone and is imported where it is wanted.

Importing this package imports nothing else.
"""
