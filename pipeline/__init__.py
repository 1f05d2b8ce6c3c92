"""Distributary's rules and edges, without Faust: typed Python that a notebook could import.

Data goes down this list, imports go up:

=====================  =======================================================================
``doctor``             examines an integration from its name to a test event
``local``              the embedded Apache Kafka and Redis
``receiver``           sample endpoints that verify and count what they are sent
``traffic``            events that look like real traffic
``config``             ``faust.yml`` and the environment, checked
``inbound``            webhooks and Segment's calls: their settings, rules and records
``users``              who a user is: identifiers, tags, devices
``sinks``              one file a kind of endpoint, and their registry
``notices``            what people are told: breakers, parked batches, refused credentials
``delivery``           lanes, retries, parking: when which batch is tried
``windows``            durable batch windows: when which events are sealed
``ingest``             decoding, checking and matching of source events
``net``                the only place that opens connections to customers
``model``              the nouns: event, integration, frame, batch, attempt
``metrics`` ``logs``   what the outside sees
``clock`` ``errors``   what everything stands on
=====================  =======================================================================
"""
