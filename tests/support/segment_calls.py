"""Calls to the Segment destination, as two published integrations write them on the wire.

The order of header lines and of keys, their spelling and the spacing are those of the programs; the values are ours. Segment:
``segmentio/action-destinations``, whose client is node-fetch, which names headers in small letters. RudderStack:
``rudderlabs/rudder-transformer``, whose client is axios; its server may hand it the events with their keys in alphabetical
order, so both are there.
"""

from dataclasses import dataclass

APPLICATION = "32E5A-9B411"
TOKEN = "Kx72bQ0pLmZtYw93VsRd"

_SEGMENT_HEAD = """\
POST {path} HTTP/1.1
user-agent: Segment (Actions)
authorization: Token {token}
x-pw-appcode: {application}
content-type: application/json
Accept: */*
Content-Length: {length}
Accept-Encoding: gzip,deflate
Host: {host}
Connection: keep-alive

"""

_RUDDERSTACK_HEAD = """\
POST {path} HTTP/1.1
Accept: application/json, text/plain, */*
Content-Type: application/json
Authorization: Token {token}
X-PW-Appcode: {application}
User-Agent: RudderLabs
Content-Length: {length}
Accept-Encoding: gzip, compress, deflate, br
Host: {host}
Connection: keep-alive

"""


@dataclass(frozen=True)
class RecordedCall:
    """One call. ``events`` is how many of its events are to be taken."""

    head: str
    path: str
    body: bytes
    events: int = 0

    def on_the_wire(self, *, host: str = "hooks.example", token: str = TOKEN, application: str = APPLICATION) -> bytes:
        """The request's bytes."""
        head = self.head.format(path=self.path, host=host, token=token, application=application, length=len(self.body))
        return head.replace("\n", "\r\n").encode() + self.body


def _segment(path: str, body: str, events: int = 0) -> RecordedCall:
    return RecordedCall(_SEGMENT_HEAD, f"/integration-segment/v1/{path}", body.encode(), events)


def _rudderstack(body: str, events: int = 0) -> RecordedCall:
    return RecordedCall(_RUDDERSTACK_HEAD, "/integration-segment/v1/post-events", body.encode(), events)


PING = _segment("ping", '{"body":{"name":"test_segment_auth"}}')

TRACKS = {
    "a track of an app": _segment(
        "post-events",
        '{"events":[{"user_id":"jana-17","device_id":"5C0E8AD1-70C8-4B53-B8A2-1F6E23D0A911","device_platform":"ios",'
        '"app_code":"32E5A-9B411","name":"Bike Rented","timestamp":"2026-11-22T10:15:30.250Z",'
        '"attributes":{"station":"Alexanderplatz","minutes":35.5,"coupon":null,"extras":["helmet","seat"],'
        '"tariff":{"name":"Tagesticket","cents":1250}}}]}',
        1,
    ),
    "a track of a site, without device": _segment(
        "post-events",
        '{"events":[{"user_id":"jana-17","app_code":"32E5A-9B411","name":"Map Opened","timestamp":"2026-11-22T10:15:31.000Z"}]}',
    ),
    "a page, with device": _segment(
        "post-events",
        '{"events":[{"user_id":"omar-3","device_id":"w-88","device_platform":"web","app_code":"32E5A-9B411",'
        '"name":"Tariffs","timestamp":"2026-11-22T10:16:02.418Z","attributes":{"path":"/tariffs","title":"Tariffs"}}]}',
        1,
    ),
    "a track with half an emoji": _segment(
        "post-events",
        '{"events":[{"user_id":"mia-9","device_id":"a-2","device_platform":"android","app_code":"32E5A-9B411",'
        '"name":"Review Written","timestamp":"2026-11-22T10:17:00.000Z","attributes":{"text":"Great ride \\ud83d"}}]}',
        1,
    ),
    "a batch": _segment(
        "post-events",
        '{"events":[{"user_id":"jana-17","device_id":"5C0E8AD1-70C8-4B53-B8A2-1F6E23D0A911","device_platform":"ios",'
        '"app_id":"32E5A-9B411","name":"Bike Returned","timestamp":"2026-11-22T10:51:00.000Z","attributes":{"km":7.25}},'
        '{"user_id":"omar-3","device_id":null,"device_platform":"Android","app_id":"32E5A-9B411","name":"Bike Rented",'
        '"timestamp":"2026-11-22T10:52:11.009Z","attributes":{}},'
        '{"user_id":"mia-9","device_id":"","device_platform":"","app_id":"32E5A-9B411","name":"Bike Rented",'
        '"timestamp":"2026-11-22T10:53:00.000Z"},'
        '{"user_id":"lea-1","device_platform":null,"app_id":"32E5A-9B411","name":"Bike Rented",'
        '"timestamp":"2026-11-22T10:54:00.000Z"},'
        '{"user_id":"lea-1","device_id":"tv-5","device_platform":"smart tv","app_id":"32E5A-9B411","name":"Trailer Seen",'
        '"timestamp":"2026-11-22T10:55:00.000Z"}]}',
        2,
    ),
}

IDENTIFIES = {
    "an identify with everything": _segment(
        "track-user",
        '{"attributes":{"plan":"family","phone":"+49 30 901820","children":["Ada","Bo"],"address":{"city":"Berlin"}},'
        '"user_id":"jana-17","email":"jana@mail.example","app_version":"4.2.0",'
        '"device_id":"5C0E8AD1-70C8-4B53-B8A2-1F6E23D0A911","device_model":"iPhone17,1","device_platform":"ios",'
        '"device_token":"b1946ac92492d2347c6235b4d2611184","language":"de-DE","country":"Germany","city":"Berlin",'
        '"current_location":{"latitude":52.521918,"longitude":13.413215},"device_os_version":"19.1",'
        '"timezone":"Europe/Berlin","user_agent":"Bikes/4.2.0 (iPhone; iOS 19.1)"}',
    ),
    "the smallest identify": _segment("track-user", '{"attributes":{},"user_id":"u"}'),
    "an identify of a device": _segment(
        "track-user", '{"attributes":{"tester":true},"device_id":"a-2","device_platform":"ANDROID"}'
    ),
    "an identify with nulls": _segment(
        "track-user",
        '{"attributes":{"plan":null},"user_id":"omar-3","email":null,"app_version":null,"device_id":null,'
        '"device_model":null,"device_platform":null,"device_token":null,"language":null,"country":null,"city":null,'
        '"device_os_version":null,"timezone":null,"user_agent":null}',
    ),
    "an identify with values that mean nothing": _segment(
        "track-user",
        '{"attributes":{"plan":"day"},"user_id":"mia-9","app_version":"?","device_id":"x)7","device_model":"?",'
        '"device_platform":"x)7","language":"x)7","country":"x)7","city":"x)7",'
        '"current_location":{"latitude":81416201091153.92,"longitude":81416201091153.92},"timezone":"x)7","user_agent":"x)7"}',
    ),
    "an identify of nobody": _segment("track-user", '{"attributes":{"plan":"day"}}'),
}

DELETES = {
    "a deletion": _segment("delete-user", '{"external_id":"jana-17"}'),
    "a deletion of somebody without user id": _segment("delete-user", "{}"),
}

RUDDERSTACK = {
    "a batch of RudderStack": _rudderstack(
        '{"events":[{"user_id":"jana-17","device_id":"","device_platform":"web","app_code":"32E5A-9B411",'
        '"name":"Bike Rented","timestamp":"2026-11-22T11:00:00.000Z","attributes":{"station":"Ostkreuz","extras":'
        '["helmet"],"tariff":"{\\"name\\":\\"Tagesticket\\"}"}},{"user_id":"omar-3","device_id":"a-7",'
        '"device_platform":"android","app_code":"32E5A-9B411","name":"Bike Returned","attributes":{}}]}',
        2,
    ),
    "a batch of RudderStack with its keys in order": _rudderstack(
        '{"events":[{"app_code":"32E5A-9B411","attributes":{"extras":["helmet"],"station":"Ostkreuz","tariff":'
        '"{\\"name\\":\\"Tagesticket\\"}"},"device_id":"","device_platform":"web","name":"Bike Rented",'
        '"timestamp":"2026-11-22T11:00:01.000Z","user_id":"jana-17"}]}',
        1,
    ),
}

SET_TAGS = RecordedCall(
    _RUDDERSTACK_HEAD.replace("X-PW-Appcode: {application}\n", ""),
    "/json/1.3/setTags",
    b'{"request":{"application":"32E5A-9B411","userId":"jana-17","tags":{"plan":"family","children":["Ada","Bo"]}}}',
)

NUMBER_AS_TIMESTAMP = _segment(
    "post-events",
    '{"events":[{"user_id":"jana-17","device_id":"i-1","device_platform":"ios","app_code":"32E5A-9B411","name":"Bike Rented",'
    '"timestamp":"2026-11-22T12:00:00.000Z"},{"user_id":"jana-17","device_id":"i-1","device_platform":"ios",'
    '"app_code":"32E5A-9B411","name":"Bike Returned","timestamp":1795348800}]}',
    1,
)
TEXT_AS_TIMESTAMP = _segment(
    "post-events",
    '{"events":[{"user_id":"omar-3","device_id":"i-1","device_platform":"ios","app_id":"32E5A-9B411","name":"Bike Returned",'
    '"timestamp":"bad"},{"user_id":"omar-3","device_id":"i-1","device_platform":"ios","app_id":"32E5A-9B411",'
    '"name":"Bike Rented","timestamp":"2026-11-22T12:00:00.000Z"}]}',
    1,
)
