import json

import numpy as np
import search_records
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups
from tensorboard.util import tensor_util

from kerastrain import tracking


def opened(folder):
    """TensorBoard's reader of a folder, and the context of its HParams page."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    return multiplexer, backend_context.Context(TBContext(data_provider=provider, logdir=str(folder)))


def groups(context, experiment):
    """The rows of the HParams page by their name."""
    request = api_pb2.ListSessionGroupsRequest(slice_size=100, aggregation_type=api_pb2.AGGREGATION_AVG)
    request.allowed_statuses.extend(api_pb2.Status.values())
    for metric in experiment.metric_infos:
        request.col_params.add().metric.CopyFrom(metric.name)
    found = list_session_groups.Handler(RequestContext(), context, "", request).run()
    return {group.name: group for group in found.session_groups}


def plain(value):
    return getattr(value, value.WhichOneof("kind"))


def test_tensorboards_hparams_page_shows_every_trial_that_has_ended(tmp_path):
    content = search_records.record(14, state="running")
    search_records.write(tmp_path, content)
    for _ in range(2):  # A resumed search writes it again.
        folder = tracking.write_search(tmp_path)
    assert folder == tmp_path / "tensorboard"
    multiplexer, context = opened(folder)
    experiment = get_experiment.Handler(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run()
    keys = {info.name: info for info in experiment.hparam_infos}
    assert set(keys) == set(search_records.SPACE)
    rate = keys["optimizer.learning_rate"].domain_interval
    assert (rate.min_value, rate.max_value) == (1e-4, 1e-1)
    assert {plain(value) for value in keys["fine_tune.batch_norm"].domain_discrete.values} == {True, False}
    assert {plain(value) for value in keys["schedule.name"].domain_discrete.values} == {"null", "cosine", '"null"'}
    assert experiment.metric_infos[0].name.tag == "validation.accuracy"
    rows, ended = groups(context, experiment), content["trials"][:-1]
    assert set(rows) == {f"trial {trial['point']}" for trial in ended}
    for trial in ended:
        row = rows[f"trial {trial['point']}"]
        values = {key: plain(value) for key, value in row.hparams.items()}
        assert set(values) == set(trial["values"])
        assert values["optimizer.learning_rate"] == trial["values"]["optimizer.learning_rate"]
        assert json.loads(values["model.hidden_units"]) == trial["values"]["model.hidden_units"]
        measures = {metric.name.tag: metric.value for metric in row.metric_values}
        if trial["status"] != "failed":
            np.testing.assert_allclose(measures["validation.accuracy"], trial["score"], rtol=1e-6)
        [session] = row.sessions
        assert session.status == (api_pb2.STATUS_FAILURE if trial["status"] == "failed" else api_pb2.STATUS_SUCCESS)
        np.testing.assert_allclose(session.end_time_secs - session.start_time_secs, trial["seconds"], rtol=1e-5)
        curve = multiplexer.Tensors(f"{trial['point']:03d}", "curve/validation.accuracy")
        assert [event.step for event in curve] == [epoch for epoch, _ in trial["curve"]]
        np.testing.assert_allclose(
            [float(tensor_util.make_ndarray(event.tensor_proto)) for event in curve],
            [value for _, value in trial["curve"]],
            rtol=1e-6,
        )
