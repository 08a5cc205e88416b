"""Which sensors, schedules and policies are on, by the settings."""

from datetime import timedelta

import dagster as dg
import pytest

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.settings import Settings
from virnucpro_assets.settings_groups import AlertSettings

RUNNING, STOPPED = dg.DefaultSensorStatus.RUNNING, dg.DefaultSensorStatus.STOPPED
PREDICTIONS = dg.AssetKey("predictions")


def status_of(settings: Settings) -> dict[str, dg.DefaultSensorStatus]:
    definitions = build_definitions(settings)
    names = ("alert_on_failed_runs", "alert_on_failed_checks", "overdue")
    return {name: definitions.resolve_sensor_def(name).default_status for name in names}


@pytest.mark.parametrize(
    "alerts",
    [
        AlertSettings(log=True),
        AlertSettings(webhook="https://hook.example/"),
        AlertSettings(mail_to="lab@example.org"),
    ],
)
def test_the_sensors_that_tell_are_on_if_there_is_somebody_to_tell(alerts):
    assert set(status_of(Settings(alerts=alerts)).values()) == {RUNNING}


def test_without_anybody_to_tell_they_are_off_and_overdue_drops_are_named_in_its_ticks():
    assert status_of(Settings()) == {
        "alert_on_failed_runs": STOPPED,
        "alert_on_failed_checks": STOPPED,
        "overdue": RUNNING,
    }
    assert status_of(Settings(overdue_hours=0))["overdue"] == STOPPED


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
