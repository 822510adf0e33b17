"""Where Magalu Cloud's API is, which buckets it reads, and where its key comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.errors import PublishError, UsageError
from factory.publish import store_settings, transport
from factory.publish.mgc_place import REGIONS, api_key, check_store, place

SETTINGS = ("FACTORY_MGC_API_URL", "FACTORY_S3_ENDPOINT", "FACTORY_S3_REGION")
OWN = "https://api.magalu.cloud"


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SETTINGS, "MGC_API_KEY", "MGC_WORKSPACE", "MGC_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("api", "endpoint", "region", "url", "name"),
    [
        ("", "", "", f"{OWN}/br-se1/compute", "br-se1"),
        ("", "", "br-ne1", f"{OWN}/br-ne1/compute", "br-ne1"),
        ("", "", "br-mgl1", f"{OWN}/br-se-1/compute", "br-mgl1"),
        ("", "https://br-ne1.magaluobjects.com", "", f"{OWN}/br-ne1/compute", "br-ne1"),
        ("", "https://br-se-1.magaluobjects.com", "us-east-1", f"{OWN}/br-se-1/compute", "br-mgl1"),
        (f"{OWN}/br-ne1/compute/", "", "br-se1", f"{OWN}/br-ne1/compute", "br-ne1"),
        ("http://127.0.0.1:8080", "", "", "http://127.0.0.1:8080", None),
        ("http://[::1]:8080/x", "", "", "http://[::1]:8080/x", None),
        ("http://localhost:1", "", "us-east-1", "http://localhost:1", None),
        ("https://cloud.example/br-se1/compute", "", "", "https://cloud.example/br-se1/compute", None),
        ("https://api.magalu.cloud.example/x", "", "", "https://api.magalu.cloud.example/x", None),
    ],
)
def test_the_api_follows_its_setting_or_the_region_of_the_bucket(
    monkeypatch: pytest.MonkeyPatch, api: str, endpoint: str, region: str, url: str, name: str | None
) -> None:
    for setting, value in zip(SETTINGS, (api, endpoint, region), strict=True):
        monkeypatch.setenv(setting, value)
    found = place()
    assert found.url == url
    assert (found.region.name if found.region else None) == name


@pytest.mark.parametrize(
    ("api", "said"),
    [
        ("http://api.magalu.cloud/br-se1/compute", "not https"),
        ("http://127.0.0.1.example/", "not https"),
        ("ftp://127.0.0.1/", "no address"),
        ("api.magalu.cloud", "no address"),
        ("https://", "no address"),
        ("https://127.0.0.1:99999/", "port"),
        ("https://[::1", "host"),
        ("https://me:secret@api.magalu.cloud/br-se1/compute", "password"),
        ("https://api.magalu.cloud/br-se1/compute?x=1", "have no place"),
        ("https://api.magalu.cloud/br-se1/compute/v1", "before /v1"),
        ("https://api.magalu.cloud/br-xx1/compute", "no region"),
    ],
)
def test_an_address_that_cannot_be_the_api_is_refused(monkeypatch: pytest.MonkeyPatch, api: str, said: str) -> None:
    monkeypatch.setenv("FACTORY_MGC_API_URL", api)
    with pytest.raises(UsageError) as caught:
        place()
    assert said in caught.value.message
    assert "secret" not in str(caught.value)


def test_an_address_that_cannot_be_a_store_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", "https://[::1")
    monkeypatch.setenv("FACTORY_S3_BUCKET", "images")
    assert place().region == REGIONS[0]
    with pytest.raises(UsageError, match="FACTORY_S3_ENDPOINT"):
        store_settings.of(transport.load("mgc"))


@pytest.mark.parametrize("region", ["br-se1", "br-ne1", "br-mgl1"])
def test_the_region_alone_leads_to_a_store_that_the_api_reads_from(
    monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    monkeypatch.setenv("FACTORY_S3_REGION", region)
    monkeypatch.setenv("FACTORY_S3_BUCKET", "images")
    found = store_settings.of(transport.load("mgc"))
    assert (found.region, place().region) == (region, next(each for each in REGIONS if each.name == region))
    check_store(place(), found.endpoint)


def test_a_region_that_is_none_of_the_clouds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_S3_REGION", "us-east-1")
    with pytest.raises(UsageError, match="no region of Magalu"):
        place()


@pytest.mark.parametrize(
    ("region", "url", "good"),
    [
        ("br-se1", "https://br-se1.magaluobjects.com/b/k?X-Amz-Signature=1", True),
        ("br-se1", "https://b.br-se1.magaluobjects.com/k", True),
        ("br-se1", "https://BR-SE1.magaluobjects.com:443/b/k", True),
        ("br-mgl1", "https://br-se-1.magaluobjects.com/b/k", True),
        ("br-se1", "http://br-se1.magaluobjects.com/b/k", False),
        ("br-se1", "https://br-ne1.magaluobjects.com/b/k", False),
        ("br-se1", "https://br-se1.magaluobjects.com:8443/b/k", False),
        ("br-se1", "https://br-se1.magaluobjects.com.example/b/k", False),
        ("br-se1", "https://xbr-se1.magaluobjects.com/b/k", False),
        ("br-se1", "https://s3.amazonaws.com/b/k", False),
        ("br-se1", "https://localhost:8333/b/k", False),
    ],
)
def test_magalus_own_api_reads_its_own_store_in_its_own_region(
    monkeypatch: pytest.MonkeyPatch, region: str, url: str, good: bool
) -> None:
    monkeypatch.setenv("FACTORY_S3_REGION", region)
    if good:
        check_store(place(), url)
        return
    with pytest.raises(PublishError) as caught:
        check_store(place(), url)
    assert caught.value.code == "publish.bucket-place"
    assert "Signature" not in str(caught.value)


def test_another_api_reads_any_https_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_MGC_API_URL", "http://127.0.0.1:1")
    check_store(place(), "https://localhost:8333/b/k")
    with pytest.raises(PublishError, match="https only"):
        check_store(place(), "http://localhost:8333/b/k")


def test_the_key_comes_from_the_environment_then_from_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PublishError) as caught:
        api_key()
    assert caught.value.code == "publish.no-api-key"
    for profile, key in (("default", "key-of-default"), ("work", "key-of-work")):
        (tmp_path / "mgc" / profile).mkdir(parents=True)
        (tmp_path / "mgc" / profile / "auth.yaml").write_text(f'---\naccess_token: "t"\napi_key: "{key}"\n')
    assert api_key() == "key-of-default"
    (tmp_path / "mgc" / "current").write_text("work")
    assert api_key() == "key-of-work"
    monkeypatch.setenv("MGC_WORKSPACE", "default")
    assert api_key() == "key-of-default"
    monkeypatch.setenv("MGC_WORKSPACE", "..")
    assert api_key() == "key-of-default"
    monkeypatch.setenv("MGC_API_KEY", "key-of-the-environment\n")
    assert api_key() == "key-of-the-environment"


def test_a_key_with_a_line_break_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGC_API_KEY", "abcd\r\nx-evil: 1")
    with pytest.raises(PublishError) as caught:
        api_key()
    assert "evil" not in str(caught.value)
