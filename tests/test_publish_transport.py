"""How images reach a target, as its YAML says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from factory import publish
from factory.errors import UsageError
from factory.publish import transport


def test_magalu_wants_urls_of_more_than_twelve_hours_and_signs_less_than_seven_days() -> None:
    found = transport.load("mgc")
    assert (found.least_life, found.longest_life) == (43201, 604000)
    assert found.endpoint.format(region=found.region) == "https://br-se1.magaluobjects.com"
    assert (found.key_id_variable, found.secret_variable) == ("MGC_OBJ_KEY_ID", "MGC_OBJ_KEY_SECRET")
    assert (found.importer, found.addressing) == ("mgc", "path")


def test_generic_takes_any_url() -> None:
    assert transport.load("generic") == transport.Transport(target="generic", importer="generic")


def test_an_unknown_target_is_told() -> None:
    with pytest.raises(UsageError, match="no target 'mcg'"):
        transport.load("mcg")


def test_the_text_of_a_presigned_url_never_holds_its_signature() -> None:
    secret = "https://store.example/b/k.qcow2?X-Amz-Signature=5ee7&X-Amz-Credential=who"
    url = publish.PresignedUrl(secret, datetime.now(UTC) + timedelta(hours=1))
    for text in (str(url), repr(url), url.masked, f"{url!s:>5}"):
        assert "5ee7" not in text
        assert "who" not in text
    assert url.masked == "https://store.example/b/k.qcow2?***"
    assert 3500 < url.seconds_left <= 3600
