"""Records that were removed before they were read are told; other holes of a log are nothing to tell."""

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from structlog.testing import capture_logs

from tests.support.chunk_worker import fresh_name, make_app, running

LOST = "records were removed before they were read"


class Reader:
    """An app that reads one topic, started again and again."""

    def __init__(self, broker, topic, folder):
        self._broker, self._topic, self._folder = broker, topic, folder
        self._name = fresh_name()
        self.values: list[bytes] = []
        self.removed: list[tuple[TopicPartition, int]] = []
        self.logs: list[dict] = []

    async def read(self, until_offset: int) -> None:
        app = make_app(
            self._name,
            self._broker.address,
            self._folder,
            on_removed=lambda tp, records: self.removed.append((tp, records)),
        )

        @app.agent(app.chunk_topic(self._topic))
        async def keep(stream):
            async for chunk in stream:
                self.values += [record.value for record in chunk.records]

        with capture_logs() as logs:
            async with running(app):
                await self._broker.until_committed(self._name, self._topic, until_offset)
        self.logs += logs

    def told(self) -> list[dict]:
        return [line for line in self.logs if line["event"].startswith(LOST)]


async def remove(broker, topic, before_offset):
    await broker.admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=before_offset)})


async def test_records_that_were_removed_beyond_the_committed_offset_are_counted_and_logged(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    reader = Reader(broker, topic, tmp_path)
    await broker.put(topic, [b"%d" % number for number in range(6)])
    await reader.read(6)
    assert reader.removed == []

    await broker.put(topic, [b"%d" % number for number in range(6, 100)])
    await remove(broker, topic, 60)
    await reader.read(100)

    assert reader.removed == [(TopicPartition(topic, 0), 54)]
    [line] = reader.told()
    assert line["log_level"] == "error"
    said = {name: line[name] for name in ("topic", "partition", "first_offset", "last_offset", "records")}
    assert said == {"topic": topic, "partition": 0, "first_offset": 6, "last_offset": 59, "records": 54}
    assert reader.values == [b"%d" % number for number in (*range(6), *range(60, 100))]


async def test_records_are_counted_also_where_the_whole_log_was_removed(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    reader = Reader(broker, topic, tmp_path)
    await broker.put(topic, [b"0", b"1"])
    await reader.read(2)
    await broker.put(topic, [b"2", b"3", b"4"])
    await remove(broker, topic, 5)
    await broker.put(topic, [b"5"])
    await reader.read(6)
    assert reader.removed == [(TopicPartition(topic, 0), 3)]
    assert reader.values == [b"0", b"1", b"5"]


async def test_where_transactions_ended_nothing_is_missing(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    reader = Reader(broker, topic, tmp_path)
    async with AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=fresh_name("writer")) as producer:
        for value, last_offset in ((b"0", 0), (b"2", 2)):  # each is followed by the marker that ends its transaction
            async with producer.transaction():
                await producer.send_and_wait(topic, value, partition=0)
            await reader.read(last_offset + 1)
    await broker.put(topic, [b"4"])
    await reader.read(5)
    assert reader.values == [b"0", b"2", b"4"]
    assert reader.removed == []
    assert reader.told() == []


async def test_what_was_removed_before_a_topic_is_read_for_the_first_time_was_not_to_be_read(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    reader = Reader(broker, topic, tmp_path)
    await broker.put(topic, [b"%d" % number for number in range(10)])
    await remove(broker, topic, 4)
    await reader.read(10)
    assert reader.values == [b"%d" % number for number in range(4, 10)]
    assert reader.removed == []
    assert reader.told() == []
