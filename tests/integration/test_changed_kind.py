"""An integration of faust.yml that is given another kind: the worker does not start, and nothing is spoilt by the try."""

from pipeline.integrations.stored import kind_key
from tests.support.whole_topic import read_topic
from tests.support.worker_process import WorkerProcess, eventually

URLS = {"http": "http://127.0.0.1:9/", "email": "http://127.0.0.1:9/", "grpc": "grpc://127.0.0.1:9"}


class OneIntegration(WorkerProcess):
    """A worker with integration ``crm``, of a kind that can be changed between starts."""

    kind = "http"

    def integrations(self):
        return [{"id": "crm", "kind": self.kind, "url": URLS[self.kind], "events": "*", "platforms": "Email"}]

    def is_kind_told(self):
        changelog = read_topic(self.brokers, f"{self.app}-integrations-changelog", 1)
        return any(record.key == kind_key("crm") for record in changelog)


def test_an_integration_of_another_kind_than_before_stops_the_start_until_it_is_put_right(kafka, tmp_path):
    flow = OneIntegration("kind", kafka, tmp_path)
    flow.start()
    eventually(flow.is_kind_told, "the kind is stored")
    assert flow.stop() == 0

    flow.kind = "grpc"
    flow.begin()
    assert flow.worker.wait(60) == 1
    assert "integration crm is of kind grpc and was of kind http: an id keeps its kind." in flow.log()
    assert "worker ready" not in flow.log().partition("is of kind grpc")[2]

    flow.kind = "http"
    flow.start()
    assert flow.stop() == 0
