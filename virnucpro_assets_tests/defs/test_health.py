"""Which sensors, schedules and policies are on, by the settings."""

from datetime import timedelta

import dagster as dg
import pytest

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.settings import Settings
from virnucpro_assets.settings_groups import AlertSettings

RUNNING, STOPPED = dg.DefaultSensorStatus.RUNNING, dg.DefaultSensorStatus.STOPPED
PREDICTIONS = dg.AssetKey("predictions")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"alerts": AlertSettings(log=True), "overdue_hours": 0}, RUNNING),
        ({"alerts": AlertSettings(webhook="https://hook.example/"), "overdue_hours": 0}, RUNNING),
        ({"alerts": AlertSettings(mail_to="lab@example.org"), "overdue_hours": 0}, RUNNING),
        ({}, RUNNING),
        ({"overdue_hours": 0}, STOPPED),
    ],
)
def test_the_sensor_is_on_if_there_is_somebody_to_tell_or_a_drop_can_be_overdue(changes, status):
    sensor = build_definitions(Settings(**changes)).resolve_sensor_def("alerts")
    assert sensor.default_status == status


def test_predictions_have_a_freshness_policy_only_where_it_is_asked_for():
    def policy(**changes):
        graph = build_definitions(Settings(**changes)).resolve_asset_graph()
        return graph.get(PREDICTIONS).freshness_policy

    assert policy() is None
    assert policy(fresh_hours=24) == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=24), warn_window=timedelta(hours=18)
    )


def test_the_clean_up_is_off_and_only_lists_unless_the_settings_say_so():
    for deletes in (False, True):
        definitions = build_definitions(Settings(cleanup_deletes=deletes))
        schedule = definitions.resolve_schedule_def("nightly_cleanup")
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
        job = definitions.resolve_job_def(schedule.job_name)
        assert job.run_config is not None
        assert job.run_config["ops"] == {"clean_up": {"config": {"delete": deletes}}}
