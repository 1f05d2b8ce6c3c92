from pipeline.local import kafka, redis


def kafka_settings() -> dict[str, str]:
    lines = kafka.config_text((20001, 20002), "kafka/data").splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    settings = dict(pairs)
    assert len(settings) == len(pairs), "a setting is given twice"
    return settings


def test_kafka_listens_on_loopback_alone_and_says_so_to_its_clients():
    settings = kafka_settings()
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:20001"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:20002"


def test_kafka_lets_records_of_8_mb_pass():
    settings = kafka_settings()
    for name in ("message.max.bytes", "replica.fetch.max.bytes", "socket.request.max.bytes"):
        assert int(settings[name]) >= 16 * 1024 * 1024


def test_kafka_makes_no_topic_by_accident_and_needs_no_second_node():
    settings = kafka_settings()
    assert settings["auto.create.topics.enable"] == "false"
    assert {value for name, value in settings.items() if name.endswith(("replication.factor", "min.isr"))} == {"1"}


def test_redis_listens_on_loopback_alone_and_keeps_its_data():
    lines = redis.config_text(20003).splitlines()
    assert {"bind 127.0.0.1", "port 20003", "protected-mode yes", "appendonly yes", "dir redis"} <= set(lines)


def test_addresses_are_what_clients_take():
    assert kafka.KafkaServer().address((20001, 20002)) == "127.0.0.1:20001"
    assert redis.RedisServer().address((20003,)) == "redis://127.0.0.1:20003/0"
