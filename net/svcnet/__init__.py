"""svcnet"""
