from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeliverRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class DeliverResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[EventResult]
    def __init__(self, results: _Optional[_Iterable[_Union[EventResult, _Mapping]]] = ...) -> None: ...

class EventResult(_message.Message):
    __slots__ = ("uuid", "status", "message")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        Unspecified: _ClassVar[EventResult.Status]
        Success: _ClassVar[EventResult.Status]
        Failed: _ClassVar[EventResult.Status]
        Rejected: _ClassVar[EventResult.Status]
    Unspecified: EventResult.Status
    Success: EventResult.Status
    Failed: EventResult.Status
    Rejected: EventResult.Status
    UUID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    status: EventResult.Status
    message: str
    def __init__(self, uuid: _Optional[str] = ..., status: _Optional[_Union[EventResult.Status, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("uuid", "sequence", "event_name", "timestamp", "application_code", "platform", "hwid", "user_id", "message_id", "message_code", "campaign_id", "payload", "journey_title", "journey_point_title", "live_activity_id", "campaign_code", "device_type", "error_message", "trigger_id", "profile_id", "device_id", "email")
    UUID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_NAME_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_CODE_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    HWID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    JOURNEY_TITLE_FIELD_NUMBER: _ClassVar[int]
    JOURNEY_POINT_TITLE_FIELD_NUMBER: _ClassVar[int]
    LIVE_ACTIVITY_ID_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_CODE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    sequence: int
    event_name: str
    timestamp: int
    application_code: str
    platform: str
    hwid: str
    user_id: str
    message_id: int
    message_code: str
    campaign_id: int
    payload: str
    journey_title: str
    journey_point_title: str
    live_activity_id: str
    campaign_code: str
    device_type: str
    error_message: str
    trigger_id: str
    profile_id: str
    device_id: str
    email: str
    def __init__(self, uuid: _Optional[str] = ..., sequence: _Optional[int] = ..., event_name: _Optional[str] = ..., timestamp: _Optional[int] = ..., application_code: _Optional[str] = ..., platform: _Optional[str] = ..., hwid: _Optional[str] = ..., user_id: _Optional[str] = ..., message_id: _Optional[int] = ..., message_code: _Optional[str] = ..., campaign_id: _Optional[int] = ..., payload: _Optional[str] = ..., journey_title: _Optional[str] = ..., journey_point_title: _Optional[str] = ..., live_activity_id: _Optional[str] = ..., campaign_code: _Optional[str] = ..., device_type: _Optional[str] = ..., error_message: _Optional[str] = ..., trigger_id: _Optional[str] = ..., profile_id: _Optional[str] = ..., device_id: _Optional[str] = ..., email: _Optional[str] = ...) -> None: ...
