"""Sending again what was parked, and sending what a topic still holds: which, how much, under what name.

Pure rules; the commands ``replay`` and ``resume`` read Kafka and ask.
"""
