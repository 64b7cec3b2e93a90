"""svcagent"""
